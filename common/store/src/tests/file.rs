//! The file in which SQLite keeps everything.

use std::os::unix::fs::PermissionsExt as _;

use super::harness::{World, on_sqlite};

#[test]
fn it_is_its_owners_alone_and_so_are_its_logs() {
    on_sqlite(modes);
}

async fn modes(world: World) {
    let path = world.url.strip_prefix("sqlite:").unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let mode = std::fs::metadata(format!("{path}{suffix}")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{suffix}");
    }
}
