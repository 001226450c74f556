//! Tokens with which other programs ask.

use rusqlite::{OptionalExtension, params};

use super::{Account, AccountError, Accounts, Role, fingerprint, random_letters};
use crate::record::now;

/// With what every token begins, so that it is known for one where it should not be.
const BEGINNING: &str = "millsight_";

/// Random letters of a token: 160 bits.
const LETTERS: usize = 32;

impl Accounts {
    /// Makes a token for a program; gives it, which is told this once.
    ///
    /// # Errors
    /// When the name cannot be one or is taken, or the file cannot be written.
    pub fn add_token(&self, name: &str, role: Role) -> Result<String, AccountError> {
        self.check_name(name)?;
        let token = format!("{BEGINNING}{}", random_letters(LETTERS));
        let values = params![name, role.name(), fingerprint(&token), now()];
        let sql = "INSERT INTO token (name, role, fingerprint, created) VALUES (?1, ?2, ?3, ?4)";
        self.database
            .execute(sql, values)
            .map_err(|error| self.failed(error))?;
        Ok(token)
    }

    /// Names and roles of all tokens.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn tokens(&self) -> Result<Vec<(String, Role)>, AccountError> {
        let read = || -> rusqlite::Result<Vec<(String, Role)>> {
            self.database
                .prepare_cached("SELECT name, role FROM token ORDER BY name")?
                .query_map([], |row| Ok((row.get(0)?, role(row.get(1)?))))?
                .collect()
        };
        read().map_err(|error| self.failed(error))
    }

    /// Who asks with a token.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of_token(&self, token: &str) -> Result<Option<Account>, AccountError> {
        let sql = "SELECT name, role FROM token WHERE fingerprint = ?1";
        let found = self.database.prepare_cached(sql).and_then(|mut statement| {
            statement
                .query_row([fingerprint(token)], |row| {
                    Ok(Account {
                        name: row.get(0)?,
                        role: role(row.get(1)?),
                        is_one_time: false,
                        password_hash: String::new(),
                    })
                })
                .optional()
        });
        found.map_err(|error| self.failed(error))
    }
}

/// What is not understood may do the least.
fn role(name: String) -> Role {
    name.parse().unwrap_or(Role::Viewer)
}
