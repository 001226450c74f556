//! Who may review: accounts with a role and a password, and a log of what they did.

mod sessions;
mod tokens;

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rand::RngExt;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::tables;
use crate::record::now;
pub(super) use sessions::Sessions;

/// Version of the tables, kept in the database as `user_version`.
const FORMAT: i64 = 2;

const SCHEMA: &str = "
CREATE TABLE account (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    password TEXT NOT NULL,        -- PHC string of argon2id
    -- The password was made by the program and is to be replaced at once.
    is_one_time INTEGER NOT NULL,
    created TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE token (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    fingerprint TEXT NOT NULL UNIQUE,  -- SHA-256: a token is told once
    created TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE session (
    id TEXT PRIMARY KEY,           -- SHA-256 of what the browser has
    data TEXT NOT NULL,            -- JSON
    expires INTEGER NOT NULL       -- seconds since 1970
) WITHOUT ROWID;
CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    moment TEXT NOT NULL,
    account TEXT NOT NULL,
    what TEXT NOT NULL
);
";

/// Fewest characters of a password that someone chooses (NIST SP 800-63B asks for 8
/// at least, and for no rules on which).
pub const SHORTEST_PASSWORD: usize = 10;

/// Longest password; hashing takes longer for longer ones.
pub const LONGEST_PASSWORD: usize = 256;

/// What someone may do. A later role may do what an earlier one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Viewer,
    /// Review tiles.
    Operator,
    /// Change the model and the accounts.
    Engineer,
}

impl Role {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Engineer => "engineer",
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Role::Viewer, Role::Operator, Role::Engineer]
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| {
                format!("there is no role `{text}`; the roles are viewer, operator and engineer")
            })
    }
}

/// Someone who may use the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Name.
    pub name: String,
    /// What the account may do.
    pub role: Role,
    /// Whether the password is to be replaced before anything else.
    pub is_one_time: bool,
    /// The password's hash; it changes with the password.
    #[serde(skip)]
    pub password_hash: String,
}

/// Why accounts cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The file of the accounts cannot be used.
    #[error(
        "cannot use the accounts {path}: {error}; check the permissions of the file and of its folder, and the space on its disk"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        error: std::io::Error,
    },
    /// SQLite refused something.
    #[error("cannot use the accounts {path}: {error}; {}", crate::record::remedy(.error))]
    Database {
        /// The database file.
        path: PathBuf,
        /// SQLite's reason.
        error: rusqlite::Error,
    },
    /// The database was made by another version of the program.
    #[error("the accounts {path} have format {found}, but this program knows format {FORMAT} only")]
    Format {
        /// The database file.
        path: PathBuf,
        /// The format that it states.
        found: i64,
    },
    /// There is an account of that name.
    #[error("there is an account {0} already; choose another name")]
    Exists(String),
    /// There is no account of that name.
    #[error("there is no account {0}")]
    Missing(String),
    /// The name cannot be one.
    #[error(
        "`{0}` cannot be the name of an account: 1 to 40 letters, digits, `.`, `-` and `_` are expected"
    )]
    Name(String),
    /// The password cannot be used.
    #[error(
        "the password has {0} characters, but must have {SHORTEST_PASSWORD} to {LONGEST_PASSWORD}"
    )]
    Password(usize),
    /// Without it nobody could make accounts.
    #[error("{0} is the last engineer and stays one: make another engineer first")]
    LastEngineer(String),
}

/// The accounts of a record folder.
pub struct Accounts {
    database: Connection,
    path: PathBuf,
}

impl Accounts {
    /// Opens or creates the accounts beside a record. Only the user who runs the
    /// program may read the file.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn open(folder: &Path) -> Result<Self, AccountError> {
        let path = folder.join("accounts.sqlite");
        create_private(&path).map_err(|error| AccountError::File {
            path: path.clone(),
            error,
        })?;
        let failed = |error| AccountError::Database {
            path: path.clone(),
            error,
        };
        let database = Connection::open(&path).map_err(failed)?;
        let found = tables::make(&database, SCHEMA, FORMAT).map_err(failed)?;
        if found != FORMAT {
            return Err(AccountError::Format { path, found });
        }
        Ok(Self { database, path })
    }

    /// The first account, an engineer with a one-time password, where there is none
    /// yet; gives its name and password.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn first(&self) -> Result<Option<(&'static str, String)>, AccountError> {
        const FIRST: &str = "engineer";
        if !self.list()?.is_empty() {
            return Ok(None);
        }
        let password = one_time_password();
        self.insert(FIRST, Role::Engineer, &password, true)?;
        Ok(Some((FIRST, password)))
    }

    /// All accounts by their names.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn list(&self) -> Result<Vec<Account>, AccountError> {
        let read = || -> rusqlite::Result<Vec<Account>> {
            self.database
                .prepare_cached(
                    "SELECT name, role, is_one_time, password FROM account ORDER BY name",
                )?
                .query_map([], read_account)?
                .collect()
        };
        read().map_err(|error| self.failed(error))
    }

    /// An account by its name.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn find(&self, name: &str) -> Result<Option<Account>, AccountError> {
        let read = || {
            self.database
                .prepare_cached(
                    "SELECT name, role, is_one_time, password FROM account WHERE name = ?1",
                )?
                .query_row([name], read_account)
                .optional()
        };
        read().map_err(|error| self.failed(error))
    }

    /// Makes an account; gives its one-time password.
    ///
    /// # Errors
    /// When the name cannot be one or is taken, or the file cannot be written.
    pub fn add(&self, name: &str, role: Role) -> Result<String, AccountError> {
        self.check_name(name)?;
        let password = one_time_password();
        self.insert(name, role, &password, true)?;
        Ok(password)
    }

    /// Whether a name can be that of a new account or token.
    fn check_name(&self, name: &str) -> Result<(), AccountError> {
        let is_plain = |letter: char| letter.is_alphanumeric() || "._-".contains(letter);
        let length = name.chars().count();
        if !(1..=40).contains(&length) || !name.chars().all(is_plain) {
            return Err(AccountError::Name(name.to_owned()));
        }
        let is_token = self.tokens()?.iter().any(|(known, _)| known == name);
        if is_token || self.find(name)?.is_some() {
            return Err(AccountError::Exists(name.to_owned()));
        }
        Ok(())
    }

    /// Gives an account a new one-time password. Who is logged in with the old one is
    /// so no longer.
    ///
    /// # Errors
    /// When there is no such account, or the file cannot be written.
    pub fn reset(&self, name: &str) -> Result<String, AccountError> {
        let password = one_time_password();
        self.set_hash(name, &password_auth::generate_hash(&password), true)?;
        Ok(password)
    }

    /// Replaces a password by one that its owner has chosen. Who is logged in with the
    /// old one is so no longer.
    ///
    /// # Errors
    /// When it is too short or too long, there is no such account, or the file cannot
    /// be written.
    pub fn choose_password(&self, name: &str, password: &str) -> Result<(), AccountError> {
        let length = password.chars().count();
        if !(SHORTEST_PASSWORD..=LONGEST_PASSWORD).contains(&length) {
            return Err(AccountError::Password(length));
        }
        self.set_hash(name, &password_auth::generate_hash(password), false)
    }

    /// Removes an account or a token. What was decided with it stays.
    ///
    /// # Errors
    /// When there is no such account, it is the last engineer, or the file cannot be
    /// written.
    pub fn remove(&self, name: &str) -> Result<(), AccountError> {
        let token = "DELETE FROM token WHERE name = ?1";
        if self.changed(name, token, params![name]).is_ok() {
            return Ok(());
        }
        let accounts = self.list()?;
        let mut engineers = accounts
            .iter()
            .filter(|account| account.role == Role::Engineer);
        if engineers.clone().any(|account| account.name == name) && engineers.nth(1).is_none() {
            return Err(AccountError::LastEngineer(name.to_owned()));
        }
        self.changed(name, "DELETE FROM account WHERE name = ?1", params![name])
    }

    /// Notes what an account did.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn note(&self, account: &str, what: &str) -> Result<(), AccountError> {
        self.database
            .execute(
                "INSERT INTO audit (moment, account, what) VALUES (?1, ?2, ?3)",
                params![now(), account, what],
            )
            .map_err(|error| self.failed(error))?;
        Ok(())
    }

    /// What accounts did, the last first: moment (RFC 3339 in UTC), account and what.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn log(&self, most: usize) -> Result<Vec<[String; 3]>, AccountError> {
        let read = || -> rusqlite::Result<Vec<[String; 3]>> {
            self.database
                .prepare_cached(
                    "SELECT moment, account, what FROM audit ORDER BY id DESC LIMIT ?1",
                )?
                .query_map([most as i64], |row| {
                    Ok([row.get(0)?, row.get(1)?, row.get(2)?])
                })?
                .collect()
        };
        read().map_err(|error| self.failed(error))
    }

    fn insert(
        &self,
        name: &str,
        role: Role,
        password: &str,
        is_one_time: bool,
    ) -> Result<(), AccountError> {
        let hash = password_auth::generate_hash(password);
        self.database
            .execute(
                "INSERT INTO account (name, role, password, is_one_time, created) \
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![name, role.name(), hash, is_one_time, now()],
            )
            .map_err(|error| self.failed(error))?;
        Ok(())
    }

    fn set_hash(&self, name: &str, hash: &str, is_one_time: bool) -> Result<(), AccountError> {
        self.changed(
            name,
            "UPDATE account SET password = ?2, is_one_time = ?3 WHERE name = ?1",
            params![name, hash, is_one_time],
        )
    }

    /// Runs a statement that changes one account.
    fn changed(
        &self,
        name: &str,
        sql: &str,
        values: impl rusqlite::Params,
    ) -> Result<(), AccountError> {
        let changed = self.database.execute(sql, values);
        match changed.map_err(|error| self.failed(error))? {
            0 => Err(AccountError::Missing(name.to_owned())),
            _ => Ok(()),
        }
    }

    fn failed(&self, error: rusqlite::Error) -> AccountError {
        AccountError::Database {
            path: self.path.clone(),
            error,
        }
    }
}

fn read_account(row: &rusqlite::Row<'_>) -> rusqlite::Result<Account> {
    let role: String = row.get(1)?;
    Ok(Account {
        name: row.get(0)?,
        // What is not understood may do the least.
        role: role.parse().unwrap_or(Role::Viewer),
        is_one_time: row.get(2)?,
        password_hash: row.get(3)?,
    })
}

/// A password of 80 bits.
fn one_time_password() -> String {
    random_letters(16)
}

/// Letters and digits, none of which looks like another: 5 bits each.
fn random_letters(count: usize) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = rand::rng();
    let letter = |_| char::from(LETTERS[random.random_range(0..LETTERS.len())]);
    (0..count).map(letter).collect()
}

/// What is kept of a secret that is too long to be guessed: its SHA-256 in hexadecimal.
fn fingerprint(secret: &str) -> String {
    let hash = Sha256::digest(secret.as_bytes());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes an empty file that only its owner may read, where there is none.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            fs::metadata(path).map(|_| ())
        }
        Err(error) => Err(error),
    }
}
