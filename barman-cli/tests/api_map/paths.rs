//! Made of `docs/api-map.md` by the test beside it: a reference to each path there.

#[allow(dead_code, unused_qualifications, reason = "it only has to compile")]
#[rustfmt::skip]
pub(crate) fn references() {
    let _ = barman_catalog::Catalog::backups;
    let _ = barman_catalog::Catalog::get;
    let _ = barman_catalog::Catalog::load;
    let _ = barman_catalog::Catalog::next;
    let _ = barman_catalog::Catalog::previous;
    let _ = barman_catalog::Catalog::usable;
    let _ = barman_catalog::Layout::identity;
    let _ = barman_catalog::Layout::wal_path;
    let _ = barman_catalog::Layout::xlogdb;
    let _ = barman_catalog::accounting::WalIndex::figures;
    {
        #[allow(unused_imports)]
        use barman_catalog::accounting::child_timelines as _;
    }
    {
        #[allow(unused_imports)]
        use barman_catalog::completeness::assess as _;
    }
    {
        #[allow(unused_imports)]
        use barman_catalog::identity::read as _;
    }
    {
        #[allow(unused_imports)]
        use barman_catalog::identity::write as _;
    }
    {
        #[allow(unused_imports)]
        use barman_catalog::ids::resolve as _;
    }
    {
        #[allow(unused_imports)]
        use barman_catalog::listing::wal_until_next as _;
    }
    {
        #[allow(unused_imports)]
        use barman_catalog::retention::report as _;
    }
    let _ = barman_catalog::xlogdb::LockedXlogDb::open;
    {
        #[allow(unused_imports)]
        use barman_catalog::xlogdb::read as _;
    }
    let _ = barman_cli::output::Output::check;
    let _ = barman_core::Server::close;
    let _ = barman_core::Server::new;
    let _ = barman_core::Server::sql;
    let _ = barman_core::Server::standby;
    let _ = barman_core::Server::streaming;
    {
        #[allow(unused_imports)]
        use barman_core::config::ServerConfig as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::host::environment::search_path as _;
    }
    let _ = barman_core::host::process::SelfCommand::spawn;
    {
        #[allow(unused_imports)]
        use barman_core::host::process::find as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::host::process::terminate as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::archive::run as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::backup::run as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::check::CheckEntry as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::check::CheckReport as _;
    }
    let _ = barman_core::ops::check::CheckReport::critical;
    let _ = barman_core::ops::check::CheckReport::has_failed;
    {
        #[allow(unused_imports)]
        use barman_core::ops::check::CheckResult as _;
    }
    let _ = barman_core::ops::check::CheckResult::described;
    let _ = barman_core::ops::check::CheckResult::key;
    {
        #[allow(unused_imports)]
        use barman_core::ops::check::NON_CRITICAL as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::check::entries as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::check::preflight as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::check::run as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::check::run_all as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::check::run_each as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::check::streaming_preflight as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::check_backup::run as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::check_backup::run_locked as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::cron::run as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::delete::plan as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::delete::run as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::diagnose::run as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::get_wal::OutputForm as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::get_wal::run as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::get_wal::test as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::list_backups::run as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::rebuild_xlogdb::run as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::receive_wal::ReceiveAction as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::receive_wal::run as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::receiver::restart as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::replication_status::run as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::restore::lineage::legs as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::restore::run as _;
    }
    let _ = barman_core::ops::restore::wal_choice::WalChoice::takes;
    {
        #[allow(unused_imports)]
        use barman_core::ops::retention::run as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::show_backup::run as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::show_servers::run as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::status::run as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::switch_wal::Archive as _;
    }
    {
        #[allow(unused_imports)]
        use barman_core::ops::switch_wal::run as _;
    }
    {
        #[allow(unused_imports)]
        use barman_pg::ConnInfo as _;
    }
    let _ = barman_pg::ConnInfo::parse;
    {
        #[allow(unused_imports)]
        use barman_pg::KeepAlive as _;
    }
    let _ = barman_pg::KeepAlive::THREAD_NAME;
    let _ = barman_pg::KeepAlive::end;
    let _ = barman_pg::KeepAlive::flag;
    let _ = barman_pg::KeepAlive::is_lost;
    let _ = barman_pg::KeepAlive::start;
    {
        #[allow(unused_imports)]
        use barman_pg::PgVersion as _;
    }
    {
        #[allow(unused_imports)]
        use barman_pg::PostgresConnection as _;
    }
    let _ = barman_pg::PostgresConnection::MINIMAL_VERSION;
    let _ = barman_pg::PostgresConnection::abandon_backup;
    let _ = barman_pg::PostgresConnection::archive_timeout;
    let _ = barman_pg::PostgresConnection::checkpoint;
    let _ = barman_pg::PostgresConnection::checkpoint_timeout;
    let _ = barman_pg::PostgresConnection::close;
    let _ = barman_pg::PostgresConnection::connect;
    let _ = barman_pg::PostgresConnection::create_restore_point;
    let _ = barman_pg::PostgresConnection::current_size;
    let _ = barman_pg::PostgresConnection::current_timeline;
    let _ = barman_pg::PostgresConnection::current_xlog_file_name;
    let _ = barman_pg::PostgresConnection::current_xlog_info;
    let _ = barman_pg::PostgresConnection::current_xlog_location;
    let _ = barman_pg::PostgresConnection::fetch_remote_status;
    let _ = barman_pg::PostgresConnection::get_archiver_stats;
    let _ = barman_pg::PostgresConnection::get_configuration_files;
    let _ = barman_pg::PostgresConnection::get_connection_string;
    let _ = barman_pg::PostgresConnection::get_remote_status;
    let _ = barman_pg::PostgresConnection::get_replication_slot;
    let _ = barman_pg::PostgresConnection::get_replication_stats;
    let _ = barman_pg::PostgresConnection::get_setting;
    let _ = barman_pg::PostgresConnection::get_synchronous_standby_names;
    let _ = barman_pg::PostgresConnection::get_systemid;
    let _ = barman_pg::PostgresConnection::get_tablespaces;
    let _ = barman_pg::PostgresConnection::has_backup_privileges;
    let _ = barman_pg::PostgresConnection::has_checkpoint_privileges;
    let _ = barman_pg::PostgresConnection::has_connection;
    let _ = barman_pg::PostgresConnection::has_monitoring_privileges;
    let _ = barman_pg::PostgresConnection::is_in_recovery;
    let _ = barman_pg::PostgresConnection::is_minimal_postgres_version;
    let _ = barman_pg::PostgresConnection::is_superuser;
    let _ = barman_pg::PostgresConnection::name_map;
    let _ = barman_pg::PostgresConnection::new;
    let _ = barman_pg::PostgresConnection::parse;
    let _ = barman_pg::PostgresConnection::privileges;
    let _ = barman_pg::PostgresConnection::reset_remote_status;
    let _ = barman_pg::PostgresConnection::send_heartbeat_query;
    let _ = barman_pg::PostgresConnection::server_major_version;
    let _ = barman_pg::PostgresConnection::server_txt_version;
    let _ = barman_pg::PostgresConnection::server_version;
    let _ = barman_pg::PostgresConnection::start_concurrent_backup;
    let _ = barman_pg::PostgresConnection::start_exclusive_backup;
    let _ = barman_pg::PostgresConnection::stop_concurrent_backup;
    let _ = barman_pg::PostgresConnection::stop_exclusive_backup;
    let _ = barman_pg::PostgresConnection::switch_wal;
    let _ = barman_pg::PostgresConnection::with_checkpoint;
    let _ = barman_pg::PostgresConnection::with_slot_name;
    let _ = barman_pg::PostgresConnection::xlog_segment_size;
    let _ = barman_pg::SqlClient::heartbeat;
    let _ = barman_pg::SqlClient::rows;
    let _ = barman_pg::StandbyConnection::checkpoint;
    let _ = barman_pg::StandbyConnection::close;
    let _ = barman_pg::StandbyConnection::new;
    let _ = barman_pg::StandbyConnection::stop_concurrent_backup;
    let _ = barman_pg::StandbyConnection::stop_exclusive_backup;
    let _ = barman_pg::StandbyConnection::switch_wal;
    let _ = barman_pg::StandbyConnection::switch_wal_in_background;
    {
        #[allow(unused_imports)]
        use barman_pg::StreamingConnection as _;
    }
    let _ = barman_pg::StreamingConnection::close;
    let _ = barman_pg::StreamingConnection::connect;
    let _ = barman_pg::StreamingConnection::create_physical_repslot;
    let _ = barman_pg::StreamingConnection::drop_repslot;
    let _ = barman_pg::StreamingConnection::fetch_remote_status;
    let _ = barman_pg::StreamingConnection::get_connection_string;
    let _ = barman_pg::StreamingConnection::get_remote_status;
    let _ = barman_pg::StreamingConnection::has_connection;
    let _ = barman_pg::StreamingConnection::identify_system;
    let _ = barman_pg::StreamingConnection::parse;
    let _ = barman_pg::StreamingConnection::reset_remote_status;
    let _ = barman_pg::StreamingConnection::server_major_version;
    let _ = barman_pg::StreamingConnection::server_txt_version;
    let _ = barman_pg::StreamingConnection::server_version;
    let _ = barman_pg::connection::BackgroundSwitches::finish;
    let _ = barman_pg::connection::BackgroundSwitches::start;
    {
        #[allow(unused_imports)]
        use barman_pg::connection::name_map as _;
    }
    {
        #[allow(unused_imports)]
        use barman_pg::sql::ClientType as _;
    }
    {
        #[allow(unused_imports)]
        use patroni_barman::ConfigSwitchExit as _;
    }
    {
        #[allow(unused_imports)]
        use patroni_barman::NO_COMMAND as _;
    }
    {
        #[allow(unused_imports)]
        use patroni_barman::RecoverExit as _;
    }
    {
        #[allow(unused_imports)]
        use patroni_barman::args::parse as _;
    }
    {
        #[allow(unused_imports)]
        use patroni_barman::config_switch as _;
    }
    {
        #[allow(unused_imports)]
        use patroni_barman::recover as _;
    }
    {
        #[allow(unused_imports)]
        use patroni_barman::run as _;
    }
}
