//! Who is logged in, kept beside the accounts: a restart of the program asks nobody to
//! log in again.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{OptionalExtension, params};
use serde_json::Value;
use time::OffsetDateTime;
use tower_sessions::SessionStore;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::{Error, Result};

use super::{AccountError, Accounts, fingerprint};
use crate::review::server::Shared;

impl Accounts {
    /// Keeps a session in place of what was kept of it. `false`, and nothing is kept, where
    /// it is to be new and there is one of its name.
    ///
    /// # Errors
    /// When the file cannot be written.
    fn keep_session(
        &self,
        record: &Record,
        is_new: bool,
    ) -> std::result::Result<bool, AccountError> {
        let verb = match is_new {
            true => "INSERT OR IGNORE",
            false => "INSERT OR REPLACE",
        };
        let data = serde_json::to_string(&record.data).unwrap_or_default();
        let keep = || {
            self.database.execute(
                "DELETE FROM session WHERE expires <= ?1",
                [OffsetDateTime::now_utc().unix_timestamp()],
            )?;
            self.database.execute(
                &format!("{verb} INTO session (id, data, expires) VALUES (?1, ?2, ?3)"),
                params![
                    fingerprint(&record.id.to_string()),
                    data,
                    record.expiry_date.unix_timestamp()
                ],
            )
        };
        keep()
            .map(|kept| kept > 0)
            .map_err(|error| self.failed(error))
    }

    /// A session that has not expired.
    ///
    /// # Errors
    /// When the file cannot be read.
    fn session(&self, id: &Id) -> std::result::Result<Option<Record>, AccountError> {
        let read = self
            .database
            .query_row(
                "SELECT data, expires FROM session WHERE id = ?1 AND expires > ?2",
                params![
                    fingerprint(&id.to_string()),
                    OffsetDateTime::now_utc().unix_timestamp()
                ],
                |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)),
            )
            .optional()
            .map_err(|error| self.failed(error))?;
        Ok(read.and_then(|(data, expires)| {
            let data: HashMap<String, Value> = serde_json::from_str(&data).ok()?;
            Some(Record {
                id: *id,
                data,
                expiry_date: OffsetDateTime::from_unix_timestamp(expires).ok()?,
            })
        }))
    }

    /// Forgets a session.
    ///
    /// # Errors
    /// When the file cannot be written.
    fn end_session(&self, id: &Id) -> std::result::Result<(), AccountError> {
        let id = fingerprint(&id.to_string());
        self.database
            .execute("DELETE FROM session WHERE id = ?1", [id])
            .map(|_| ())
            .map_err(|error| self.failed(error))
    }
}

/// The sessions of a server.
#[derive(Clone)]
pub(in crate::review) struct Sessions(pub(in crate::review) Arc<Shared>);

impl std::fmt::Debug for Sessions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Sessions").finish_non_exhaustive()
    }
}

fn failed(error: AccountError) -> Error {
    Error::Backend(error.to_string())
}

#[async_trait]
impl SessionStore for Sessions {
    async fn create(&self, record: &mut Record) -> Result<()> {
        loop {
            let new = record.clone();
            let keep = move |accounts: &Accounts| accounts.keep_session(&new, true);
            if self.0.with_accounts(keep).await.map_err(failed)? {
                return Ok(());
            }
            record.id = Id::default();
        }
    }

    async fn save(&self, record: &Record) -> Result<()> {
        let record = record.clone();
        let keep = move |accounts: &Accounts| accounts.keep_session(&record, false);
        self.0.with_accounts(keep).await.map(|_| ()).map_err(failed)
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        let id = *id;
        let load = move |accounts: &Accounts| accounts.session(&id);
        self.0.with_accounts(load).await.map_err(failed)
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        let id = *id;
        let end = move |accounts: &Accounts| accounts.end_session(&id);
        self.0.with_accounts(end).await.map_err(failed)
    }
}
