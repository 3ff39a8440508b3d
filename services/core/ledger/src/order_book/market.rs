//! The prices of one symbol at its venues, with the orders that wait for them.

use std::{collections::BTreeMap, mem};

use events::{Price, Symbol, Timestamp, Venue};
use market_data::TickPosition;
use uuid::Uuid;

use crate::{rows::PriceRow, trigger_book::TriggerBook};

/// A price that orders may fill at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quote {
    pub(super) price: Price,
    pub(super) at: Timestamp,
    pub(super) position: TickPosition,
}

/// A symbol at all its venues.
#[derive(Debug, Default)]
pub(super) struct SymbolMarket {
    /// The first venue that quoted the symbol. Orders that name no venue trade there.
    primary: Option<Venue>,
    venues: BTreeMap<Venue, VenueMarket>,
    /// The orders that name no venue, until the first venue quotes the symbol.
    without_venue: TriggerBook,
}

#[derive(Debug, Default)]
struct VenueMarket {
    latest: Option<Quote>,
    /// The id of the tick of the latest price. Its memory is used again for the next.
    latest_id: String,
    triggers: TriggerBook,
    /// True when the latest price is newer than the saved one.
    is_unsaved: bool,
}

impl SymbolMarket {
    /// Restores the saved price of a venue.
    pub(super) fn restore(&mut self, row: PriceRow) {
        let PriceRow { symbol: _, venue, is_primary, tick_id, price, at, position } = row;
        if is_primary {
            self.primary = Some(venue.clone());
        }
        let market = self.venues.entry(venue).or_default();
        (market.latest, market.latest_id) = (Some(Quote { price, at, position }), tick_id);
    }

    /// Returns the newest price at the venue of an order, or at the primary venue for an order that names none.
    pub(super) fn latest(&self, venue: Option<&Venue>) -> Option<Quote> {
        self.market(venue)?.latest
    }

    /// Returns the id of the tick that has that price.
    pub(super) fn latest_id(&self, venue: Option<&Venue>) -> Option<&str> {
        self.market(venue).map(|market| market.latest_id.as_str())
    }

    fn market(&self, venue: Option<&Venue>) -> Option<&VenueMarket> {
        self.venues.get(venue.or(self.primary.as_ref())?)
    }

    /// Returns the orders that wait beside an order of this venue.
    pub(super) fn triggers(&mut self, venue: Option<&Venue>) -> &mut TriggerBook {
        match venue.or(self.primary.as_ref()) {
            Some(venue) => &mut self.venues.entry(venue.clone()).or_default().triggers,
            None => &mut self.without_venue,
        }
    }

    /// Makes a quote of the tick `id` the newest price at its venue, and returns false when it is late.
    pub(super) fn apply(&mut self, venue: &Venue, quote: Quote, id: &str) -> bool {
        if !self.venues.contains_key(venue) {
            self.venues.insert(venue.clone(), VenueMarket::default());
        }
        let Some(market) = self.venues.get_mut(venue) else { return false };
        if market.latest.is_some_and(|latest| latest.at > quote.at) {
            return false;
        }
        (market.latest, market.is_unsaved) = (Some(quote), true);
        market.latest_id.clear();
        market.latest_id.push_str(id);
        if self.primary.is_none() {
            self.primary = Some(venue.clone());
            market.triggers.append(mem::take(&mut self.without_venue));
        }
        true
    }

    /// Removes and returns the orders that a price at a venue reaches, in the order in which they fill.
    pub(super) fn take_reached(&mut self, venue: &Venue, price: Price) -> Vec<Uuid> {
        self.venues.get_mut(venue).map(|market| market.triggers.take_reached(price)).unwrap_or_default()
    }

    /// Takes the prices that are newer than the saved ones.
    pub(super) fn take_unsaved(&mut self, symbol: &Symbol) -> Vec<PriceRow> {
        let primary = self.primary.as_ref();
        let rows = self.venues.iter_mut().filter_map(|(venue, market)| {
            if !mem::take(&mut market.is_unsaved) {
                return None;
            }
            let Quote { price, at, position } = market.latest?;
            let (symbol, is_primary, tick_id) = (symbol.clone(), primary == Some(venue), market.latest_id.clone());
            Some(PriceRow { symbol, venue: venue.clone(), is_primary, tick_id, price, at, position })
        });
        rows.collect()
    }
}
