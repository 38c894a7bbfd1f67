//! What `patroni_barman` reads from the network and from its URL (`patroni-barman`).

use patroni_barman::protocol::{self, ConfigUpdate, NewOperation, Unfit};
use patroni_barman::{ApiOptions, HttpUrl, PgBackupApi};

use crate::input::{reached, text};

/// Answers of the API: an id and a state come from objects only, and whatever is shown is one short line.
pub fn api_answers(bytes: &[u8]) {
    let shown = protocol::excerpt(bytes);
    assert!(
        shown.chars().count() <= 201 && !shown.contains(char::is_control),
        "{shown:?}"
    );
    match (protocol::read_created(bytes), protocol::read_progress(bytes)) {
        // Whatever is no object is neither.
        (Err(Unfit::Nonsense(_)), status) => assert!(matches!(status, Err(Unfit::Nonsense(_)))),
        (Ok(_) | Err(Unfit::Malformed(_)), status) => {
            reached();
            assert!(!matches!(status, Err(Unfit::Nonsense(_))));
            assert!(!matches!(protocol::read_health(bytes), Ok(Ok(()))));
        }
    }
    if let Some(reason) = protocol::read_not_found(bytes) {
        reached();
        assert!(protocol::excerpt(reason.as_bytes()).chars().count() <= 201);
    }
}

/// Requests to the API: what is read is written and read again as the same, and is one kind only.
pub fn api_requests(bytes: &[u8]) {
    let Ok(body) = protocol::read_body(bytes) else {
        return;
    };
    let again = |text: &str| protocol::read_body(text.as_bytes()).expect("what was written is JSON");
    match (NewOperation::read(&body), ConfigUpdate::read(&body)) {
        (Ok(_), Ok(_)) => panic!("two kinds: {body}"),
        (Ok(operation), Err(_)) => {
            reached();
            let text = operation.to_json();
            assert!(text.is_ascii() && !text.contains(char::is_control), "{text}");
            assert_eq!(NewOperation::read(&again(&text)), Ok(operation));
        }
        (Err(_), Ok(update)) => {
            reached();
            assert_eq!(ConfigUpdate::read(&again(&update.to_json())), Ok(update));
        }
        (Err(refusal), Err(_)) => assert!(!refusal.to_string().contains(char::is_control)),
    }
}

/// A URL and a reference (behind the first line end): what is accepted reads back the same, is HTTP, and shows no user.
pub fn api_url(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let (base, reference) = text.split_once('\n').unwrap_or((text, "status"));
    let Ok(url) = HttpUrl::parse(base) else { return };
    reached();
    let check = |url: &HttpUrl| {
        let text = url.as_str();
        let again = HttpUrl::parse(text).expect("what was accepted is accepted again");
        assert_eq!(again.as_str(), text);
        let authority = text.split('/').nth(2).expect("a host");
        assert!(!authority.is_empty() && !authority.contains('@'), "{text}");
        assert_eq!(text.starts_with("https://"), url.is_secure());
        assert!(
            url.path().starts_with('/') && text.ends_with(url.path()),
            "{text}"
        );
    };
    check(&url);
    if let Ok(joined) = url.join(reference) {
        check(&joined);
    }
    assert!(PgBackupApi::new(base, ApiOptions::default()).is_ok());
}
