//! Orders and deposits as OpenAPI says them; see [`crate::schemas`].
#![expect(dead_code, reason = "described, never built: values are those of crate events")]

use utoipa::ToSchema;
use uuid::Uuid;

use crate::schemas::DecimalDoc;

macro_rules! terms {
    ($(#[$about:meta])* $name:ident: $(#[$symbol:meta])*) => {
        #[derive(ToSchema)]
        $(#[$about])*
        pub(crate) struct $name {
            $(#[$symbol])*
            #[schema(pattern = "^[A-Z0-9]{1,20}(-[A-Z0-9]{1,20})?$", example = "BTC-USD")]
            symbol: String,
            side: SideDoc,
            r#type: OrderTypeDoc,
            /// How much of the base; a market buy may say `funds` in its place.
            size: Option<DecimalDoc>,
            /// How much of the quote a market buy spends, fee included.
            funds: Option<DecimalDoc>,
            /// The worst price of a limit order.
            price: Option<DecimalDoc>,
            /// What a stop order waits for; then it becomes a market order.
            stop_price: Option<DecimalDoc>,
            /// `gtc` when it is not said.
            #[schema(required = false)]
            time_in_force: TimeInForceDoc,
            /// Your own name for it, 1 to 64 printable ASCII characters: the same name is the same order. It stays when the
            /// account is erased, so put nothing personal in it.
            #[schema(min_length = 1, max_length = 64, pattern = "^[!-~]+$", example = "my-order-1")]
            client_order_id: Option<String>,
        }
    };
}

terms! {
    /// What an order is to do.
    #[schema(as = OrderTerms)]
    TermsDoc:
    /// What is traded.
}

terms! {
    /// What a rule's order is to do.
    #[schema(as = ThenOrder)]
    ThenOrderDoc:
    /// What is traded; what the rule watches when it is not said.
    #[schema(required = false)]
}

/// What a rule's first firing does besides telling somebody: it places an order, whose funds are held from when the rule is
/// made. Only for people who sign in, where it is allowed (setting `gateway.orders_from_alerts`).
#[derive(ToSchema)]
#[schema(as = OnFire)]
pub(crate) struct ThenDoc {
    order: ThenOrderDoc,
}

/// Which way.
#[derive(ToSchema)]
#[schema(as = Side, rename_all = "snake_case")]
pub(crate) enum SideDoc {
    Buy,
    Sell,
}

/// What an order waits for: nothing, a price at least as good, a price at least as bad.
#[derive(ToSchema)]
#[schema(as = OrderType, rename_all = "snake_case")]
pub(crate) enum OrderTypeDoc {
    Market,
    Limit,
    Stop,
}

/// How long an order may wait: until it is cancelled, or not at all.
#[derive(ToSchema)]
#[schema(as = TimeInForce, rename_all = "snake_case")]
pub(crate) enum TimeInForceDoc {
    Gtc,
    Ioc,
}

/// Where an order stands: on its way, waiting with its funds held, or at one of its ends.
#[derive(ToSchema)]
#[schema(as = OrderStatus, rename_all = "snake_case")]
pub(crate) enum OrderStatusDoc {
    Received,
    Open,
    Filled,
    Cancelled,
    Expired,
    Rejected,
}

/// Why an order is rejected.
#[derive(ToSchema)]
#[schema(as = RejectReason, rename_all = "snake_case")]
pub(crate) enum RejectionDoc {
    InsufficientFunds,
    NoPrice,
    StalePrice,
    UnknownSymbol,
    TooPrecise,
    TooSmall,
    TooLarge,
    TooManyOpenOrders,
}

/// What somebody's account is to be given. `email` or `user_id` says whose.
#[derive(ToSchema)]
#[schema(as = DepositRequest)]
pub(crate) struct DepositRequestDoc {
    #[schema(format = Email, example = "ada@example.com")]
    email: Option<String>,
    user_id: Option<Uuid>,
    #[schema(pattern = "^[A-Z0-9]{1,20}$", example = "USD")]
    asset: String,
    /// Above 0, within the asset's places.
    amount: DecimalDoc,
    /// Your own name for it, 1 to 100 characters: the same name is the same deposit.
    #[schema(min_length = 1, max_length = 100, example = "transfer 2026-11-20/1")]
    reference: Option<String>,
}

/// Whether the ledger has it.
#[derive(ToSchema)]
#[schema(as = DepositStatus, rename_all = "snake_case")]
pub(crate) enum DepositStatusDoc {
    Received,
    Posted,
}

/// Where somebody's money is.
#[derive(ToSchema)]
#[schema(as = AccountKind, rename_all = "snake_case")]
pub(crate) enum AccountKindDoc {
    Available,
    Held,
}

/// What happened: a deposit, an order that holds funds, one that gives them back, a trade.
#[derive(ToSchema)]
#[schema(as = PostingKind, rename_all = "snake_case")]
pub(crate) enum PostingKindDoc {
    Deposit,
    Hold,
    Release,
    Fill,
}
