//! The list.

use crate::{Parser, catalog, cli, core, patroni, pg, wal};

/// Every parser of files and network bytes. A public function of the product that reads something and is in no
/// `covers` fails the tests (see [`crate::scan`]).
#[rustfmt::skip]
pub static PARSERS: &[Parser] = &[
    row("wal", "names", "LSNs, timelines, names of WAL files: directories, commands, servers", 64, wal::names, &[
        "barman_wal::lsn::Lsn::from_str",
        "barman_wal::timeline::TimelineId::from_str",
        "barman_wal::timeline::TimelineId::from_hex8",
        "barman_wal::segment::name::SegmentName::from_str",
        "barman_wal::segment::name::SegmentName::is_archive_directory",
        "barman_wal::segment::name::parse_segment",
        "barman_wal::segment::file_name::WalFileName::from_str",
        "barman_wal::segment::size::SegmentSize::try_from",
    ]),
    row("wal", "history", "timeline history files", 4096, wal::history, &[
        "barman_wal::history::TimelineHistory::parse",
    ]),
    row("wal", "backup_label", "backup labels and backup history files", 4096, wal::backup_label, &[
        "barman_wal::backup_label::BackupLabel::parse",
    ]),
    row("wal", "tablespace_map", "tablespace maps", 4096, wal::tablespace_map, &[
        "barman_wal::tablespace_map::TablespaceMap::parse",
    ]),
    row("wal", "backup_manifest", "backup manifests", 16384, wal::backup_manifest, &[
        "barman_wal::manifest::read::read",
    ]),
    row("wal", "pg_control", "control files of PostgreSQL 10 to 18", 512, wal::pg_control, &[
        "barman_wal::control::ControlFile::parse",
    ]),
    row("wal", "data_pages", "names of relations' files, and their pages with checksums", 16384, wal::data_pages, &[
        "barman_wal::data_file::DataFileName::from_str",
        "barman_wal::page_checksum::PageVerifier::feed",
        "barman_wal::page_checksum::PageVerifier::read",
        "barman_wal::page_checksum::check_page",
        "barman_wal::page_checksum::checksum",
        "barman_wal::page_checksum::page_lsn",
    ]),
    row("wal", "incremental_file", "files of incremental backups", 32768, wal::incremental_file, &[
        "barman_wal::incremental::IncrementalHeader::read",
        "barman_wal::incremental::IncrementalReader::next_block",
        "barman_wal::incremental::original_name",
    ]),
    row("wal", "wal_page", "headers of WAL pages", 64, wal::wal_page, &[
        "barman_wal::page::PageHeader::parse",
        "barman_wal::page::check_segment_header",
    ]),
    row("wal", "wal_records", "WAL records: pages as they are, and records around any content with the right checksum", 32768, wal::wal_records, &[
        "barman_wal::record::decoder::Decoder::feed",
        "barman_wal::record::header::Header::read",
        "barman_wal::record::header::length",
        "barman_wal::record::header::head",
        "barman_wal::record::header::length_field",
        "barman_wal::record::header::total_length",
        "barman_wal::record::header::xid",
        "barman_wal::record::header::previous",
        "barman_wal::record::header::info",
        "barman_wal::record::header::manager",
        "barman_wal::crc::append",
        "barman_wal::crc::of_two",
        "barman_wal::crc::x86::append",
        "barman_wal::crc::x86::of_two",
        "barman_wal::record::parts::Parts::read",
        "barman_wal::record::payload::Payload::read",
        "barman_wal::record::payload::checkpoint::Checkpoint::read",
        "barman_wal::record::payload::checkpoint::EndOfRecovery::read",
        "barman_wal::record::payload::checkpoint::ParameterChange::read",
        "barman_wal::record::payload::checkpoint::WalLevel::read",
        "barman_wal::record::payload::transaction::RunningTransactions::read",
        "barman_wal::record::payload::transaction::read",
    ]),
    row("wal", "wal_index", "files of the WAL index, states of segments in them, segments to be summarised", 8192, wal::wal_index, &[
        "barman_wal::index::chunk::read_index_file",
        "barman_wal::index::chunk::states",
        "barman_wal::index::chunk::state",
        "barman_wal::index::chunk::Identity::parse",
        "barman_wal::index::chunk::Identity::read_slot",
        "barman_wal::index::chunk::Identity::read_zone",
        "barman_wal::index::encode::decode_state",
        "barman_wal::index::border::Tail::new",
        "barman_wal::record::Record::parse",
        "barman_wal::index::summarizer::summarize",
    ]),
    row("wal", "archived_file", "archived WAL: first bytes, every compression", 8192, wal::archived_file, &[
        "barman_wal::codec::algorithm::Algorithm::detect",
        "barman_wal::codec::read::decoder",
        "barman_wal::codec::read::decoder_on",
        "barman_wal::codec::gzip::Label::of",
        "barman_wal::codec::input::is_skippable",
        "barman_wal::codec::openpgp::looks_encrypted",
    ]),
    row("wal", "algorithms", "names of compressions and checksums, checksums in hexadecimal", 160, wal::algorithms, &[
        "barman_wal::codec::algorithm::Algorithm::from_str",
        "barman_wal::manifest::checksum::Algorithm::from_str",
        "barman_wal::manifest::checksum::Checksum::from_hex",
    ]),

    row("catalog", "backup_info", "backup.info", 8192, catalog::backup_info, &[
        "barman_catalog::backup_info::read::BackupInfo::parse",
    ]),
    row("catalog", "python", "structured fields of backup.info", 4096, catalog::python, &[
        "barman_catalog::python_literal::read::parse",
    ]),
    row("catalog", "timestamp", "times of backup.info", 96, catalog::timestamp, &[
        "barman_catalog::timestamp::Timestamp::from_str",
        "barman_catalog::timestamp::Timestamp::parse_in",
    ]),
    row("catalog", "backup_ids", "backup ids, names and shortcuts, statuses and modes", 64, catalog::backup_ids, &[
        "barman_catalog::ids::BackupId::from_str",
        "barman_catalog::ids::check_name",
        "barman_catalog::ids::resolve",
        "barman_catalog::backup_info::status::BackupStatus::from_str",
        "barman_catalog::backup_info::status::BackupMode::from",
    ]),
    row("catalog", "xlog_db", "xlog.db", 16384, catalog::xlog_db, &[
        "barman_catalog::xlogdb::XlogDb::parse",
        "barman_catalog::xlogdb::record::WalRecord::parse",
        "barman_catalog::xlogdb::record::Tag::new",
    ]),
    row("catalog", "archived_head", "first bytes of archived files while xlog.db is rebuilt", 80, catalog::archived_head, &[
        "barman_catalog::xlogdb::rebuild::inspect",
    ]),
    row("catalog", "small_files", "identity.json, annotations", 1024, catalog::small_files, &[
        "barman_catalog::identity::read",
        "barman_catalog::annotations::read",
        "barman_catalog::annotations::read_keep",
        "barman_catalog::backup_info::store::read_bounded",
    ]),
    row("catalog", "export_tarball", "exported backups: names, tar archives, compressed too", 16384, catalog::export_tarball, &[
        "barman_catalog::import::name::ExportName::parse",
        "barman_catalog::import::is_tar",
        "barman_catalog::import::import",
        "barman_catalog::import::place::place",
        "barman_catalog::identity::Identity::from_json",
        "barman_catalog::tarball::read::TarReader::next",
        "barman_catalog::tarball::pax::parse",
        "barman_catalog::tarball::pax::time",
        "barman_catalog::tarball::compression::decompressor",
    ]),
    row("catalog", "catalogue_tree", "names of files and directories of a catalogue", 2048, catalog::catalogue_tree, &[
        "barman_catalog::catalog::Catalog::load",
        "barman_catalog::backup_info::store::load",
        "barman_catalog::archive::latest_segments",
        "barman_catalog::xlogdb::rebuild::scan",
        "barman_catalog::xlogdb::file::read",
        "barman_wal::codec::detect_file",
    ]),

    row("pg", "connection_string", "connection strings of the configuration", 512, pg::connection_string, &[
        "barman_pg::conninfo::ConnInfo::parse",
        "barman_pg::conninfo::ConnInfo::from_str",
        "barman_pg::conninfo::redact",
        "barman_pg::conninfo::pairs::parse",
        "barman_pg::conninfo::uri::parse",
        "barman_pg::connection::session::PostgresConnection::parse",
        "barman_pg::connection::streaming::StreamingConnection::parse",
    ]),
    row("pg", "service_file", "the service file", 4096, pg::service_file, &[
        "barman_pg::conninfo::service::parse",
        "barman_pg::connect::files::read",
    ]),
    row("pg", "password_file", "the password file", 1024, pg::password_file, &[
        "barman_pg::conninfo::passfile::find",
        "barman_pg::connect::files::read_password_file",
    ]),
    row("pg", "require_auth", "require_auth, and the requests of servers", 160, pg::require_auth, &[
        "barman_pg::auth::require::RequireAuth::parse",
    ]),
    row("pg", "scram_messages", "a server's messages: SCRAM", 1024, pg::scram_messages, &[
        "barman_pg::auth::authenticate",
    ]),
    row("pg", "tls_answers", "a server's answer to a request for encryption, its handshake", 4096, pg::tls_answers, &[
        "barman_pg::tls::session::handshake",
    ]),
    row("pg", "certificate_names", "names in a server's certificate", 512, pg::certificate_names, &[
        "barman_pg::tls::names::check",
    ]),
    row("pg", "tls_files", "files of certificates, keys and revocations", 4096, pg::tls_files, &[
        "barman_pg::tls::key::load",
    ]),
    row("pg", "server_texts", "versions and lists of standbys as servers show them", 256, pg::server_texts, &[
        "barman_pg::version::PgVersion::from_report",
        "barman_pg::version::major_of_text",
        "barman_pg::sql::parse::version_text",
        "barman_pg::sql::settings::parse_synchronous_standby_names",
    ]),
    row("pg", "replication_startup", "a server's messages: authentication and parameters", 4096, pg::replication_startup, &[
        "barman_pg::replication::messages::authentication",
        "barman_pg::replication::messages::parameter_status",
        "barman_pg::replication::messages::server_message",
    ]),
    row("pg", "replication_answers", "a server's messages: answers to replication commands", 4096, pg::replication_answers, &[
        "barman_pg::replication::messages::data_row",
        "barman_pg::replication::ReplicationClient::read_slot",
        "barman_pg::replication::ReplicationClient::identify_system",
        "barman_pg::replication::ReplicationClient::timeline_history",
    ]),
    row("pg", "wal_stream", "a server's messages: WAL streaming", 8192, pg::wal_stream, &[
        "barman_pg::replication::wal_stream::WalStream::start",
        "barman_pg::replication::wal_stream::WalStream::next",
    ]),
    row("pg", "base_backup_messages", "a server's messages: base backup", 16384, pg::base_backup_messages, &[
        "barman_pg::basebackup::stream::ReplicationClient::base_backup",
        "barman_pg::basebackup::extract::extract",
    ]),
    row("pg", "base_backup_compressed", "compressed tar archives of a base backup", 8192, pg::base_backup_compressed, &[
        "barman_pg::basebackup::decompress::decoder",
    ]),
    row("pg", "manifest_upload", "a server's messages: incremental base backup", 4096, pg::manifest_upload, &[
        "barman_pg::basebackup::upload::ReplicationClient::incremental_backup",
    ]),
    row("pg", "base_backup_archive", "tar archives of a base backup", 16384, pg::base_backup_archive, &[
        "barman_pg::basebackup::tar::TarParser::push",
    ]),
    row("pg", "sql_session", "a server's messages: the standard connection, and rows", 8192, pg::sql_session, &[
        "barman_pg::sql::client::SqlClient::connect",
        "barman_pg::sql::client::SqlClient::connect_as",
        "barman_pg::sql::client::SqlClient::rows",
    ]),

    row("core", "ini_file", "configuration files: the dialect", 4096, core::ini_file, &[
        "barman_core::config::ini::Ini::parse",
        "barman_core::config::ini::unquote",
    ]),
    row("core", "edited_file", "configuration files with one option changed", 2048, core::edited_file, &[
        "barman_core::config::edit::set",
    ]),
    row("core", "change_queue", "the queue of configuration changes", 2048, core::change_queue, &[
        "barman_core::ops::config_update::queue::parse",
        "barman_core::ops::config_update::queue::read",
    ]),
    row("core", "interpolated", "%(key)s in values", 1024, core::interpolated, &[
        "barman_core::config::interpolation::expand",
        "barman_core::config::interpolation::expand_again",
    ]),
    row("core", "option_values", "values of options of every kind; names of lock files", 128, core::option_values, &[
        "barman_core::config::parse::parse",
        "barman_core::ops::check_archived_wal_range::WalRange::parse",
        "barman_core::config::parse::boolean",
        "barman_core::config::parse::integer",
        "barman_core::config::parse::interval",
        "barman_core::config::parse::size",
        "barman_core::config::parse::cloud_provider",
        "barman_core::config::types::parse_retention_policy",
        "barman_core::host::process::task_of_lock",
    ]),
    row("core", "configuration", "whole configurations", 4096, core::configuration, &[
        "barman_core::config::Config::load",
        "barman_core::config::load::MainFile::read",
        "barman_core::config::load::MainFile::read_with",
        "barman_core::config::load::MainFile::complete",
    ]),
    row("core", "ssh_command", "ssh_command and primary_ssh_command", 256, core::ssh_command, &[
        "barman_core::host::remote::RemoteHost::by_shell",
        "barman_core::host::remote::RemoteHost::by_words",
    ]),
    row("core", "target_time", "--target-time", 96, core::target_time, &[
        "barman_core::ops::restore::time::parse",
        "barman_core::ops::restore::time_fields::read",
    ]),
    row("core", "restore_options", "the other options of a restore", 256, core::restore_options, &[
        "barman_core::ops::restore::options::Target::from_texts",
        "barman_core::ops::restore::options::TargetTimeline::from_str",
        "barman_core::ops::restore::options::TargetAction::from_str",
        "barman_core::ops::restore::tablespaces::parse_rules",
    ]),
    row("core", "postgresql_conf", "PostgreSQL's configuration files of a restored server", 4096, core::postgresql_conf, &[
        "barman_core::ops::restore::conf::rewrite",
        "barman_core::ops::restore::conf::dangers",
        "barman_core::ops::restore::conf::dangers_of_include",
        "barman_core::ops::restore::conf::includes",
    ]),

    row("cli", "barman_arguments", "the command line of barman", 512, cli::barman_arguments, &[
        "barman_cli::args::parse",
        "barman_cli::args::values::integer",
        "barman_cli::args::values::non_negative",
        "barman_cli::args::values::positive",
        "barman_cli::args::values::target_timeline",
        "barman_cli::args::values::size",
        "barman_cli::args::values::absolute_path",
        "barman_cli::args::values::backup_name",
    ]),
    row("cli", "completion", "lines that a shell wants to have completed", 256, cli::completion, &[
        "barman_cli::completion::candidates::find",
        "barman_cli::completion::line::Line::parse",
    ]),
    row("cli", "patroni_arguments", "the command line of patroni_barman", 512, cli::patroni_arguments, &[
        "patroni_barman::args::parse",
        "patroni_barman::parser::Grammar::parse",
        "patroni_barman::config_switch::Role::of",
        "patroni_barman::config_switch::SwitchWhen::of",
    ]),
    row("patroni", "api_answers", "answers of pg-backup-api", 512, patroni::api_answers, &[
        "patroni_barman::protocol::answers::read_created",
        "patroni_barman::protocol::answers::read_progress",
        "patroni_barman::protocol::answers::read_health",
        "patroni_barman::protocol::answers::read_not_found",
        "patroni_barman::protocol::excerpt",
    ]),
    row("patroni", "api_requests", "requests to pg-backup-api", 512, patroni::api_requests, &[
        "patroni_barman::protocol::requests::read_body",
        "patroni_barman::protocol::requests::NewOperation::read",
        "patroni_barman::protocol::requests::ConfigUpdate::read",
    ]),
    row("patroni", "api_url", "the URL of pg-backup-api and where it redirects to", 256, patroni::api_url, &[
        "patroni_barman::url::HttpUrl::parse",
        "patroni_barman::url::HttpUrl::join",
        "patroni_barman::client::PgBackupApi::new",
    ]),
    row("cli", "log_format", "log_format and log_level", 256, cli::log_format, &[
        "barman_cli::logging::layout::Layout::parse",
        "barman_cli::logging::parse_level",
    ]),
    row("cli", "redacted", "texts for output and log that may hold secrets", 512, cli::redacted, &[
        "barman_cli::redact::redact",
    ]),
];

const fn row(
    module: &'static str,
    name: &'static str,
    what: &'static str,
    max_length: usize,
    run: fn(&[u8]),
    covers: &'static [&'static str],
) -> Parser {
    Parser {
        name,
        module,
        what,
        covers,
        max_length,
        run,
    }
}
