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
use crate::web::Server;

const REVIEW_EXAMPLES: &str = "\
Examples:
  millsight review --record record/strip
  millsight review --record record/strip --listen 127.0.0.1:8080

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

    /// Address and port at which it listens, of this computer alone.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8470")]
    listen: SocketAddr,

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
    /// List the accounts.
    List {
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
    /// Remove an account. What it decided stays.
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
    if !arguments.listen.ip().is_loopback() {
        return Err(miette!(
            help = "listen at 127.0.0.1, and let a web server with TLS pass requests on to it",
            "{} can be reached from other computers, and passwords would go there unencrypted",
            arguments.listen
        ));
    }
    let settings = Settings {
        again: arguments.again,
    };
    let Page {
        routes,
        first_account,
        follower: _follower,
    } = Page::open(&arguments.record, settings).into_diagnostic()?;
    let server = Server::start(arguments.listen, routes).into_diagnostic()?;
    let stop = stop_on_interrupt()?;
    let page = format!("http://{}/", server.address());
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
    | Command::List { record }
    | Command::Reset { record, .. }
    | Command::Remove { record, .. }) = command;
    if !record.is_dir() {
        return Err(miette!("there is no folder {}", record.display()));
    }
    let accounts = Accounts::open(record).into_diagnostic()?;
    let (name, password) = match command {
        Command::List { .. } => {
            let list = accounts.list().into_diagnostic()?;
            if as_json {
                output::line(json!(list))?;
            } else {
                output::write(|out| {
                    list.iter().try_for_each(|account| {
                        writeln!(out, "{:<10} {}", account.role.name(), account.name)
                    })
                })?;
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
