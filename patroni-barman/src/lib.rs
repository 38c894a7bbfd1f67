//! The library behind `patroni_barman`.
