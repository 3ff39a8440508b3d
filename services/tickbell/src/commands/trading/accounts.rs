//! `tickbell accounts`: shows balances, makes deposits, and manages assets and user roles.

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
        assets::{self, AssetKind},
        balances,
        deposits::{self, AccountOwner, Deposit, NewDeposit, Requested},
        order_waiters::OrderWaiters,
    },
};
use tokio::time::Instant;
use uuid::Uuid;

use super::api_client::{ApiOptions, Client, to_text};
use crate::{
    commands::connect::{broker, settings, store},
    exit::Exit,
    options::GlobalOptions,
    print::{eprint, print, print_table},
};

/// The producer of the event in the outbox.
const PRODUCER: &str = "operator";
/// The longest wait until a deposit is posted.
const POSTING_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest number of decimal places of an asset that the ledger supports.
const MAX_SCALE: i64 = 12;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show your balances, over the API
    Show {
        #[command(flatten)]
        api: ApiOptions,
    },
    /// Deposit an amount into the account of a user, and wait until it is posted
    Deposit {
        /// Mail address of the user
        email: String,
        /// Amount, like 10000.00
        amount: Amount,
        /// Asset, like USD
        asset: Asset,
        /// Your own reference; a repeated command with the same reference makes no second deposit
        #[arg(long, value_name = "TEXT")]
        reference: Option<String>,
    },
    /// Add an asset that accounts may hold
    Asset {
        /// Code of the asset, like BTC
        code: Asset,
        /// Number of decimal places of its amounts; cannot be changed later
        #[arg(value_parser = clap::value_parser!(u32).range(0..=MAX_SCALE))]
        scale: u32,
        /// Currency in which a share is traded, like USD; without it the asset is a currency or a coin
        #[arg(long, value_name = "ASSET")]
        quote: Option<Asset>,
    },
    /// Set the role of a user
    Role {
        /// Mail address of the user
        email: String,
        /// user, or operator: may make deposits for others
        #[arg(value_parser = role, value_name = "user|operator")]
        role: Role,
    },
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "must be user or operator".into())
}

pub(crate) async fn run(options: &GlobalOptions, command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Show { api } => show(options, &api).await,
        Command::Deposit { email, amount, asset, reference } => deposit(options, email, amount, asset, reference).await,
        Command::Asset { code, scale, quote } => {
            let store = store(&settings(options)?).await?;
            let kind = asset_kind(&store, quote).await?;
            if !assets::add(&store, &(code.clone(), scale), &kind).await? {
                eprint(&format!("{code} already exists; GET /v1/assets shows its decimal places."));
                return Ok(Exit::Failed);
            }
            print(&format!("Added asset {code} with {scale} decimal places."));
            Ok(Exit::Done)
        }
        Command::Role { email, role } => {
            let store = store(&settings(options)?).await?;
            if !users::set_role(&store, &email, role).await? {
                eprint(&format!("No user has the mail address {email}."));
                return Ok(Exit::Failed);
            }
            print(&format!("{email} now has the role {}.", role.as_str()));
            Ok(Exit::Done)
        }
    }
}

async fn asset_kind(store: &Store, quote: Option<Asset>) -> anyhow::Result<AssetKind> {
    let Some(quote) = quote else { return Ok(AssetKind::Currency) };
    if assets::find_kind(store, &quote).await? != Some(AssetKind::Currency) {
        bail!(
            "--quote {quote} is not a currency that accounts may hold; add it with `tickbell accounts asset {quote} SCALE`"
        );
    }
    Ok(AssetKind::Share { quote })
}

async fn show(options: &GlobalOptions, api: &ApiOptions) -> anyhow::Result<Exit> {
    let client = Client::new(&settings(options)?.client, api.url.as_ref())?;
    let page = client.send(client.request(Method::GET, "/v1/accounts")?).await?;
    if api.output.json {
        print(&page.to_string());
        return Ok(Exit::Done);
    }
    let accounts = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let columns = ["asset", "available", "held", "total"];
    let rows: Vec<_> = accounts.iter().map(|account| columns.map(|column| to_text(account.get(column)))).collect();
    print_table(&["ASSET", "AVAILABLE", "HELD", "TOTAL"], &rows);
    Ok(Exit::Done)
}

async fn deposit(
    options: &GlobalOptions,
    email: String,
    amount: Amount,
    asset: Asset,
    reference: Option<String>,
) -> anyhow::Result<Exit> {
    let settings = settings(options)?;
    let (store, broker) = (store(&settings).await?, broker(&settings).await?);
    let user_id = find_user(&store, &email, amount, &asset).await?;
    let id = Uuid::now_v7();
    let requested_by = "tickbell accounts deposit".to_owned();
    let new = NewDeposit { id, user_id, asset, amount, reference, requested_by, requested_at: clock::now() };
    let requested = match deposits::request(&store, PRODUCER, new).await? {
        Requested::New(deposit) | Requested::Known(deposit) => deposit,
        Requested::Conflict => bail!("another deposit already has this reference; choose a new one"),
        Requested::NoAccount => bail!("no user has the mail address {email}"),
    };
    // This also publishes the deposits of earlier runs that ended between commit and publish.
    relay::publish_pending(&store, PRODUCER, &broker)
        .await
        .context("the deposit is saved but not published; the next `tickbell accounts deposit` publishes it")?;
    let Some(posted) = wait_until_posted(&store, requested).await else {
        let seconds = POSTING_TIMEOUT.as_secs();
        eprint(&format!(
            "The deposit is requested but not posted after {seconds} s; check the trade-settler with `tickbell status`."
        ));
        return Ok(Exit::Failed);
    };
    let balances = balances::list(&store, user_id).await?;
    let balance = balances.into_iter().find(|balance| balance.asset == posted.asset);
    let total = balance.map_or_else(|| "0".to_owned(), |found| (found.available + found.held).to_string());
    print(&format!("Deposited. {email} now has {total} {} (deposit {}).", posted.asset, posted.id));
    Ok(Exit::Done)
}

/// Validates the asset and the amount, and returns the user with the mail address.
async fn find_user(store: &Store, email: &str, amount: Amount, asset: &Asset) -> anyhow::Result<Uuid> {
    let found = assets::find(store, std::slice::from_ref(asset)).await?;
    let Some((_, scale)) = found.first() else {
        bail!("asset {asset} does not exist; add it with `tickbell accounts asset {asset} SCALE`");
    };
    if amount.decimal().is_zero() {
        bail!("the amount must be greater than 0");
    }
    asset.check(amount.decimal(), *scale).map_err(|error| anyhow!("the amount {error}"))?;
    let account = deposits::find_account(store, &AccountOwner::Email(email.to_owned())).await?;
    account.with_context(|| format!("no user has the mail address {email}"))
}

/// Waits until the deposit is posted, and returns none after the time-out.
async fn wait_until_posted(store: &Store, deposit: Deposit) -> Option<Deposit> {
    if deposit.posting_id.is_some() {
        return Some(deposit);
    }
    let waiters = OrderWaiters::default();
    let waiting = waiters.deposit(deposit.id);
    let posting_id = tokio::select! {
        posted = waiting.until(Instant::now() + POSTING_TIMEOUT) => posted,
        never = waiters.run(store) => match never {},
    };
    posting_id.map(|_| Deposit { posting_id, ..deposit })
}
