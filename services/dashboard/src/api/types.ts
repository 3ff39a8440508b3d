// The names of the API that the pages use; the shapes come from its OpenAPI document.
import type { components } from './schema';

type Schemas = components['schemas'];

export type Alert = Schemas['Alert'];
export type ApiKey = Schemas['ApiKey'];
export type AssetInfo = Schemas['AssetInfo'];
export type Balance = Schemas['Balance'];
/** A candle; where trades are missing the gateway says so. */
export type Candle = Schemas['Candle'] & { completeness?: 'complete' | 'partial' | 'backfilled' | 'unknown' };
export type Condition = Schemas['Condition'];
export type DeadLetter = Schemas['DeadLetterItem'];
export type Feed = Schemas['Feed'];
export type Firing = Schemas['Firing'];
/** A latest price; `gap` is since when trades are missing, where some are. */
export type LatestPrice = Schemas['LatestPrice'] & { gap?: { from: string } | null };
export type Order = Schemas['Order'];
export type OrderRequest = Schemas['OrderRequest'];
export type Posting = Schemas['Posting'];
export type Problem = Schemas['Problem'];
export type Session = Schemas['Session'];
export type Subscription = Schemas['Subscription'];
export type Tick = Schemas['Tick'];
export type Trade = Schemas['Trade'];
export type User = Schemas['User'];
