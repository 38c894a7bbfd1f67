//! How checks word what the system says.

/// The text of a system error without its number.
pub fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_no_number() {
        assert_eq!(
            reason(&std::io::Error::from_raw_os_error(13)),
            "Permission denied"
        );
    }
}
