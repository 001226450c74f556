//! Who may review.

use super::*;
use crate::review::accounts::{AccountError, Accounts, Role};

fn accounts() -> (TempDir, Accounts) {
    let folder = tempfile::tempdir().unwrap();
    let accounts = Accounts::open(folder.path()).unwrap();
    (folder, accounts)
}

#[test]
fn the_first_account_is_an_engineer_and_is_made_once() {
    let (folder, accounts) = accounts();
    let (name, password) = accounts.first().unwrap().unwrap();
    let made = accounts.find(name).unwrap().unwrap();
    assert!(made.role == Role::Engineer && made.is_one_time);
    assert_eq!(password.len(), 16);
    assert!(made.password_hash.starts_with("$argon2id$"));
    let again = Accounts::open(folder.path()).unwrap();
    assert_eq!(again.first().unwrap(), None);
    assert!(matches!(
        accounts.remove(name),
        Err(AccountError::LastEngineer(_))
    ));
    accounts.add("erna", Role::Engineer).unwrap();
    accounts.remove(name).unwrap();
    assert_eq!(accounts.list().unwrap().len(), 1);
}

#[test]
#[cfg(unix)]
fn nobody_else_may_read_passwords() {
    use std::os::unix::fs::PermissionsExt;

    let (folder, accounts) = accounts();
    accounts.add("anna", Role::Operator).unwrap();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", entry.file_name());
    }
}

#[test]
fn what_cannot_be_an_account_is_refused_in_words() {
    let (_folder, accounts) = accounts();
    for name in ["", "a b", "../x", "<b>", &"x".repeat(41)] {
        let refused = accounts.add(name, Role::Operator);
        assert!(matches!(refused, Err(AccountError::Name(_))), "{name}");
    }
    accounts.add("anna", Role::Operator).unwrap();
    let twice = accounts.add("anna", Role::Viewer).unwrap_err().to_string();
    assert!(twice.contains("anna"), "{twice}");
    let short = accounts.choose_password("anna", "123456789").unwrap_err();
    assert!(short.to_string().contains("10"), "{short}");
    let nobody = accounts.reset("bela").unwrap_err().to_string();
    assert!(nobody.contains("no account bela"), "{nobody}");
    assert!("boss".parse::<Role>().unwrap_err().contains("engineer"));
}
