//! `tickbell accounts`: what an operator does with people's accounts.

use clap::Subcommand;
use store::users::Role;

use super::{settings, store};
use crate::{
    cli::Common,
    exit::Exit,
    print::{complain, say},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say what somebody may do besides their own business
    Role {
        /// The account's mail address
        email: String,
        /// user, or operator, who may make deposits
        #[arg(value_parser = role, value_name = "user|operator")]
        role: Role,
    },
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "must be user or operator".into())
}

pub(crate) async fn run(common: &Common, command: Command) -> anyhow::Result<Exit> {
    let store = store(&settings(common)?).await?;
    match command {
        Command::Role { email, role } => {
            if !store.set_role(&email, role).await? {
                complain(&format!("There is no account with the address {email}."));
                return Ok(Exit::Failed);
            }
            say(&format!("{email} is {} now.", role.as_str()));
        }
    }
    Ok(Exit::Done)
}
