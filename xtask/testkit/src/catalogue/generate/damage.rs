//! Damage that stops some of Barman's commands, and that ours must bear.

use super::super::blueprint::{DataForm, InfoPlace, Server, Status, XlogDbForm};
use super::super::rng::Rng;
use super::super::wal_name::WalName;

/// Does one to three kinds of damage.
pub(super) fn apply(server: &mut Server, draw: &mut Rng) {
    for _ in 0..draw.between(1, 3) {
        let count = server.backups.len() as u64;
        if count == 0 {
            break;
        }
        let chosen = draw.below(count) as usize;
        let backup = &mut server.backups[chosen];
        match draw.below(11) {
            0 => {
                let line = "000000010000000000000042\t16777216\t1795236423.5\tNone\tNone\n";
                server.xlogdb = XlogDbForm::Torn(line[..draw.between(1, 50) as usize].to_owned());
            }
            1 => backup.children.push("20200101T000000".to_owned()),
            2 => backup.parent = Some("20200101T000000".to_owned()),
            3 => backup.foreign_lines.push("from_the_future=1".to_owned()),
            4 => backup
                .foreign_lines
                .push("a line without a sign of equality".to_owned()),
            5 => backup.delete_begun = true,
            6 => backup.keep = Some(String::new()),
            7 => backup.place = InfoPlace::EmptyFile,
            8 => {
                backup.data = DataForm::Missing;
                backup.status = Status::Failed;
                backup.place = InfoPlace::Meta;
                backup.old_annotations = false;
            }
            9 => {
                for wal in &mut server.wals {
                    wal.encrypted |= matches!(wal.name, WalName::History { .. });
                }
            }
            // A line without a file, as after a deletion that was killed.
            _ => {
                let at = draw.below(server.wals.len() as u64) as usize;
                if let Some(wal) = server.wals.get_mut(at) {
                    wal.on_disk = false;
                }
            }
        }
    }
}
