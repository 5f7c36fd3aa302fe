#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};

use super::*;

const USER: u32 = 65_532;
const OWN_GROUP: u32 = 65_532;
const FS_GROUP: u32 = 2_000;
const FOREIGN: u32 = 1_000;

fn service() -> Reader {
    Reader { user: USER, groups: vec![OWN_GROUP, FS_GROUP] }
}

#[test]
fn each_mode_is_judged_by_the_group_that_it_is_open_to() {
    // Mode, and whether it will do with a group of the process and with a foreign one.
    for (mode, own, foreign) in [
        (0o400, true, true),
        (0o600, true, true),
        (0o700, true, true),
        (0o440, true, false),
        (0o640, true, false),
        (0o460, false, false),
        (0o660, false, false),
        (0o620, false, false),
        (0o650, false, false),
        (0o644, false, false),
        (0o604, false, false),
        (0o602, false, false),
        (0o601, false, false),
        (0o666, false, false),
        (0o777, false, false),
    ] {
        for owner in [USER, ROOT] {
            for group in [OWN_GROUP, FS_GROUP] {
                assert_eq!(service().check(&Access { mode, owner, group }).is_ok(), own, "{mode:o}");
            }
            assert_eq!(service().check(&Access { mode, owner, group: FOREIGN }).is_ok(), foreign, "{mode:o}");
        }
    }
}

#[test]
fn the_owner_is_the_user_or_root() {
    let of_another = Access { mode: 0o440, owner: FOREIGN, group: FS_GROUP };
    assert_eq!(service().check(&of_another), Err(SecretAccess::Owner { owner: FOREIGN, user: USER }));
    let root = Reader { user: ROOT, groups: vec![ROOT] };
    assert_eq!(root.check(&Access { mode: 0o600, owner: FOREIGN, group: FOREIGN }), Ok(()));
    let readable = root.check(&Access { mode: 0o640, owner: FOREIGN, group: FOREIGN });
    assert_eq!(readable, Err(SecretAccess::ForeignGroup { mode: 0o640, group: FOREIGN }));
}

#[test]
fn the_error_names_mode_and_remedy() {
    let text = SecretAccess::Others { mode: 0o644 }.to_string();
    assert!(text.contains("0644") && text.contains("chmod 600"), "{text}");
    let text = SecretAccess::ForeignGroup { mode: 0o640, group: 7 }.to_string();
    assert!(text.contains("0640") && text.contains("group 7"), "{text}");
}

#[test]
fn the_file_that_is_read_is_the_one_that_is_judged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    fs::write(&path, "secret").unwrap();
    let with = |mode| {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        read(&path, 6)
    };
    // Of a group that this process is in, whatever the folder says of new files.
    chown(&path, None, Some(rustix::process::getegid().as_raw())).unwrap();
    for mode in [0o600, 0o400, 0o640, 0o440] {
        assert_eq!(with(mode).unwrap().as_slice(), b"secret");
    }
    let Err(SecretFileError::Access(access)) = with(0o644) else { panic!("read though open to everybody") };
    assert_eq!(access, SecretAccess::Others { mode: 0o644 });
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(read(&path, 5), Err(SecretFileError::Oversize { bytes_max: 5 })));
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(read(&link, 6).is_ok());
    with(0o604).unwrap_err();
    assert!(matches!(read(&link, 6), Err(SecretFileError::Access(_))));
}
