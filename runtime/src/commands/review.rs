//! `millsight review` and `millsight accounts`: who looks at a record, and where.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use clap::{Args, Subcommand};
use miette::{IntoDiagnostic, miette};
use millsight_export::output;
use serde_json::json;

use super::{share, stop_on_interrupt};
use crate::review::accounts::{Accounts, Role};
use crate::review::{Page, Settings};
use crate::web::{Encryption, Server};

const REVIEW_EXAMPLES: &str = "\
Examples:
  millsight review --record record/strip
  millsight review --record record/strip --listen 127.0.0.1:8080
  millsight review --record record/strip --listen 0.0.0.0:8443 \
      --certificate server.pem --key server.key

The first start makes the account `engineer` and prints its one-time password. \
Others are made with `millsight accounts`.";

/// Examples of `millsight accounts`.
pub const ACCOUNTS_EXAMPLES: &str = "\
Examples:
  millsight accounts add anna --role operator --record record/strip
  millsight accounts list --record record/strip
  millsight accounts reset anna --record record/strip

A new account has a one-time password, which its owner replaces when first \
logging in. Accounts lie beside the record, in accounts.sqlite.";

/// Serve the page on which people review a record.
///
/// It shows the tiles that were flagged or left unjudged, the most useful first,
/// and keeps what people say of them beside the record, in review.sqlite. The
/// record itself is not changed, and may be written meanwhile.
#[derive(Debug, Args)]
#[command(after_help = REVIEW_EXAMPLES)]
pub struct Arguments {
    /// Folder of the record.
    #[arg(long, value_name = "DIR")]
    record: PathBuf,

    /// Address and port at which it listens. What other computers can reach needs a
    /// certificate.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8470")]
    listen: SocketAddr,

    /// PEM file of the certificate, with those between it and its authority.
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,

    /// PEM file of the certificate's private key.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,

    /// Let other computers reach it although nothing is encrypted, passwords
    /// neither; the page says so.
    #[arg(long, conflicts_with = "certificate")]
    insecure: bool,

    /// Share of the reviewed tiles that come back later, to measure how far
    /// people agree.
    #[arg(long, value_name = "SHARE", default_value_t = Settings::default().again, value_parser = share)]
    again: f64,
}

/// Commands of `millsight accounts`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make an account and print its one-time password.
    Add {
        /// Name to log in with.
        name: String,
        /// What it may do: viewer, operator or engineer.
        #[arg(long, default_value = "operator")]
        role: Role,
        /// Folder of the record.
        #[arg(long, value_name = "DIR")]
        record: PathBuf,
    },
    /// Make a token with which another program asks, and print it, this once.
    Token {
        /// What the program is called.
        name: String,
        /// What it may do: viewer, operator or engineer.
        #[arg(long, default_value = "viewer")]
        role: Role,
        /// Folder of the record.
        #[arg(long, value_name = "DIR")]
        record: PathBuf,
    },
    /// List the accounts and tokens.
    List {
        /// Folder of the record.
        #[arg(long, value_name = "DIR")]
        record: PathBuf,
    },
    /// Show what accounts did, the last first.
    Log {
        /// How many entries.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Folder of the record.
        #[arg(long, value_name = "DIR")]
        record: PathBuf,
    },
    /// Give an account a new one-time password and print it.
    Reset {
        /// Its name.
        name: String,
        /// Folder of the record.
        #[arg(long, value_name = "DIR")]
        record: PathBuf,
    },
    /// Remove an account or a token. What was decided with it stays.
    Remove {
        /// Its name.
        name: String,
        /// Folder of the record.
        #[arg(long, value_name = "DIR")]
        record: PathBuf,
    },
}

/// Serves until it is interrupted.
pub fn review(arguments: &Arguments, as_json: bool) -> miette::Result<ExitCode> {
    let encryption = match arguments.certificate.as_ref().zip(arguments.key.as_ref()) {
        Some((certificate, key)) => Some(Encryption::load(certificate, key).into_diagnostic()?),
        None => None,
    };
    let is_reachable = !arguments.listen.ip().is_loopback();
    if is_reachable && encryption.is_none() && !arguments.insecure {
        return Err(miette!(
            help = "give --certificate and --key, listen at 127.0.0.1, or say --insecure where \
                    the network itself is safe",
            "{} can be reached from other computers, and passwords would go there unencrypted",
            arguments.listen
        ));
    }
    let settings = Settings {
        again: arguments.again,
        is_encrypted: encryption.is_some(),
        is_insecure: is_reachable && encryption.is_none(),
        ..Settings::default()
    };
    let Page {
        routes,
        first_account,
        follower: _follower,
    } = Page::open(&arguments.record, settings, None).into_diagnostic()?;
    let server = Server::start(arguments.listen, encryption, routes).into_diagnostic()?;
    let stop = stop_on_interrupt()?;
    let page = server.url();
    if as_json {
        let (account, password) = first_account.unzip();
        output::line(json!({"page": page, "account": account, "one_time_password": password}))?;
    } else {
        output::write(|out| {
            writeln!(out, "page      {page}")?;
            if let Some((account, password)) = &first_account {
                writeln!(out, "account   {account}")?;
                writeln!(out, "password  {password}   (for the first time only)")?;
            }
            Ok(())
        })?;
    }
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(100));
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a command of `millsight accounts`.
pub fn accounts(command: &Command, as_json: bool) -> miette::Result<ExitCode> {
    let (Command::Add { record, .. }
    | Command::Token { record, .. }
    | Command::List { record }
    | Command::Log { record, .. }
    | Command::Reset { record, .. }
    | Command::Remove { record, .. }) = command;
    if !record.is_dir() {
        return Err(miette!("there is no folder {}", record.display()));
    }
    let accounts = Accounts::open(record).into_diagnostic()?;
    let (name, password) = match command {
        Command::List { .. } => {
            list(&accounts, as_json)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Log { limit, .. } => {
            let log = accounts.log(*limit).into_diagnostic()?;
            if as_json {
                output::line(json!(log))?;
            } else {
                output::write(|out| {
                    log.iter().try_for_each(|[moment, account, what]| {
                        writeln!(out, "{moment}  {account:<16} {what}")
                    })
                })?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        Command::Token { name, role, .. } => {
            let token = accounts.add_token(name, *role).into_diagnostic()?;
            if as_json {
                output::line(json!({"name": name, "token": token}))?;
            } else {
                output::write(|out| writeln!(out, "{token}"))?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        Command::Add { name, role, .. } => (name, Some(accounts.add(name, *role))),
        Command::Reset { name, .. } => (name, Some(accounts.reset(name))),
        Command::Remove { name, .. } => {
            accounts.remove(name).into_diagnostic()?;
            (name, None)
        }
    };
    let password = password.transpose().into_diagnostic()?;
    if as_json {
        output::line(json!({"account": name, "one_time_password": password}))?;
    } else if let Some(password) = password {
        output::write(|out| {
            writeln!(out, "account   {name}")?;
            writeln!(out, "password  {password}   (for the first time only)")
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list(accounts: &Accounts, as_json: bool) -> miette::Result<()> {
    let people = accounts.list().into_diagnostic()?;
    let tokens = accounts.tokens().into_diagnostic()?;
    if as_json {
        let tokens: Vec<_> = tokens
            .iter()
            .map(|(name, role)| json!({"name": name, "role": role}))
            .collect();
        output::line(json!({"accounts": people, "tokens": tokens}))?;
        return Ok(());
    }
    output::write(|out| {
        for account in &people {
            writeln!(out, "{:<10} {}", account.role.name(), account.name)?;
        }
        for (name, role) in &tokens {
            writeln!(out, "{:<10} {name}   (token)", role.name())?;
        }
        Ok(())
    })?;
    Ok(())
}
