//! `tickbell accounts`: what somebody has, and what an operator does with people's accounts.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Subcommand;
use events::{Amount, Asset};
use platform::clock;
use reqwest::Method;
use store::{
    Store,
    identity::users::{self, Role},
    outbox::relay,
    trading::{
        balances,
        deposits::{self, AccountOwner, Deposit, NewDeposit, Requested},
    },
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{broker, client::Client, orders, settings, store};
use crate::{
    cli::Common,
    exit::Exit,
    print::{complain, say, table},
};

/// Whose outbox a deposit's fact goes to.
const SERVICE: &str = "operator";
/// How long a deposit is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// More places are not counted anywhere.
const LARGEST_SCALE: i64 = 12;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say what you have, by the API
    Show {
        #[command(flatten)]
        api: orders::Api,
    },
    /// Fund somebody's account, by the database
    Deposit {
        /// The account's mail address
        email: String,
        /// How much, like 10000.00
        amount: Amount,
        /// Of what, like USD
        asset: Asset,
        /// Your own name for it; the same name is the same deposit
        #[arg(long, value_name = "TEXT")]
        reference: Option<String>,
    },
    /// Let accounts hold an asset
    Asset {
        /// Its code, like BTC
        code: Asset,
        /// How many decimal places an amount of it has; this cannot be changed later
        #[arg(value_parser = clap::value_parser!(u32).range(0..=LARGEST_SCALE))]
        scale: u32,
    },
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
    match command {
        Command::Show { api } => show(common, &api).await,
        Command::Deposit { email, amount, asset, reference } => deposit(common, email, amount, asset, reference).await,
        Command::Asset { code, scale } => {
            let store = store(&settings(common)?).await?;
            if !balances::add_asset(&store, &(code.clone(), scale)).await? {
                complain(&format!("{code} is known already; GET /v1/assets says how many places it has."));
                return Ok(Exit::Failed);
            }
            say(&format!("Accounts may hold {code} with {scale} decimal places now."));
            Ok(Exit::Done)
        }
        Command::Role { email, role } => {
            let store = store(&settings(common)?).await?;
            if !users::set_role(&store, &email, role).await? {
                complain(&format!("There is no account with the address {email}."));
                return Ok(Exit::Failed);
            }
            say(&format!("{email} is {} now.", role.as_str()));
            Ok(Exit::Done)
        }
    }
}

async fn show(common: &Common, api: &orders::Api) -> anyhow::Result<Exit> {
    let client = Client::new(&settings(common)?.client, api.url.as_ref())?;
    let page = client.ask(client.request(Method::GET, "/v1/accounts")?).await?;
    if api.output.json {
        say(&page.to_string());
        return Ok(Exit::Done);
    }
    let accounts = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let columns = ["asset", "available", "held", "total"];
    let rows: Vec<_> = accounts.iter().map(|account| columns.map(|column| orders::text(account.get(column)))).collect();
    table(&["ASSET", "AVAILABLE", "HELD", "TOTAL"], &rows);
    Ok(Exit::Done)
}

async fn deposit(
    common: &Common,
    email: String,
    amount: Amount,
    asset: Asset,
    reference: Option<String>,
) -> anyhow::Result<Exit> {
    let settings = settings(common)?;
    let (store, broker) = (store(&settings).await?, broker(&settings).await?);
    let user_id = check(&store, &email, amount, &asset).await?;
    let id = Uuid::now_v7();
    let requested_by = "tickbell accounts deposit".to_owned();
    let new = NewDeposit { id, user_id, asset, amount, reference, requested_by, requested_at: clock::now() };
    let found = match deposits::request(&store, SERVICE, new).await? {
        Requested::New(deposit) | Requested::Known(deposit) => deposit,
        Requested::Conflict => bail!("another deposit has this reference; choose a new one"),
        Requested::NoAccount => bail!("there is no account with the address {email}"),
    };
    // Also what an earlier run has saved and did not live to publish.
    relay::publish_pending(&store, SERVICE, &broker)
        .await
        .context("the deposit is saved; the next one publishes it too")?;
    let Some(posted) = wait(&store, found).await else {
        let seconds = PATIENCE.as_secs();
        complain(&format!(
            "It is asked for and not posted after {seconds} s; see `tickbell status` for trade-settler."
        ));
        return Ok(Exit::Failed);
    };
    let balances = balances::list(&store, user_id).await?;
    let balance = balances.into_iter().find(|balance| balance.asset == posted.asset);
    let total = balance.map_or_else(|| "nothing".to_owned(), |found| (found.available + found.held).to_string());
    say(&format!("{email} has {total} {} now; the deposit is {}.", posted.asset, posted.id));
    Ok(Exit::Done)
}

/// Whose account it is, when asset, amount and account go together.
async fn check(store: &Store, email: &str, amount: Amount, asset: &Asset) -> anyhow::Result<Uuid> {
    let known = balances::find_assets(&store, std::slice::from_ref(asset)).await?;
    let Some((_, places)) = known.first() else {
        bail!("{asset} is not kept here; `tickbell accounts asset {asset} SCALE` changes that");
    };
    if amount.decimal().is_zero() {
        bail!("the amount must be above 0");
    }
    asset.check(amount.decimal(), *places).map_err(|error| anyhow!("the amount {error}"))?;
    let account = deposits::find_account(&store, &AccountOwner::Email(email.to_owned())).await?;
    account.with_context(|| format!("there is no account with the address {email}"))
}

async fn wait(store: &Store, deposit: Deposit) -> Option<Deposit> {
    if deposit.posting_id.is_some() {
        return Some(deposit);
    }
    let waiting = store.order_waiters().deposit(deposit.id);
    let posting_id = tokio::select! {
        posted = waiting.until(Instant::now() + PATIENCE) => posted,
        never = store.order_waiters().run(store) => match never {},
    };
    posting_id.map(|_| Deposit { posting_id, ..deposit })
}
