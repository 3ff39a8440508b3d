//! Files of vendors, a few lines each as they publish them, and what becomes of them.

use std::io::Cursor;

use super::*;

/// The options by their names on the command line.
fn options(text: &str) -> ReadOptions {
    let mut options = ReadOptions::default();
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let mut value = || words.next().expect("a value");
        match word {
            "--format" => options.format = Some(value().parse().expect("a format")),
            "--columns" => options.columns = value().replace('~', " ").parse().expect("columns"),
            "--symbol" => options.symbol = Some(value().parse().expect("a symbol")),
            "--separator" => options.separator = Some(value().parse().expect("a separator")),
            "--time-unit" => options.time_unit = Some(value().parse().expect("a unit")),
            "--time-zone" => options.time_zone = Some(value().parse().expect("a zone")),
            "--date" => options.date = Some(value().parse().expect("a date")),
            "--candles" => options.candles = Some(value().parse().expect("a price of a candle")),
            "--no-header" => options.header = Header::Absent,
            "--newest-first" => options.order = Order::NewestFirst,
            other => panic!("{other}"),
        }
    }
    options
}

/// Reads a file; returns each line as `time symbol price size id`, or its error.
fn read(text: &str, options_text: &str) -> Result<Vec<String>, String> {
    let mut recording = Recording::open(Cursor::new(text.to_owned().into_bytes()), &options(options_text))
        .map_err(|error| error.to_string())?;
    let mut lines = Vec::new();
    while let Some(line) = recording.next_line().map_err(|error| error.to_string())? {
        lines.push(match line.trade {
            Ok(RecordedTrade { time, symbol, price, size, id, .. }) => {
                let size = size.map_or("-".to_owned(), |size| size.to_string());
                let time = time.to_string().replace(".000000Z", "Z");
                format!("{time} {symbol} {price} {size} {}", id.as_deref().unwrap_or("-"))
            }
            Err(error) => format!("line {}: {error}", line.number),
        });
    }
    Ok(lines)
}

#[test]
fn the_files_of_known_vendors_are_read_by_their_format() {
    let agg = "26129,0.01633102,4.70443515,27781,27781,1735689600010866,True,True\n";
    let header = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n\
        26129,0.01633102,4.70443515,27781,27781,1735689600010,true\n";
    let trade = "51175358,17.80180000,5.69000000,101.29224200,1583709433583,True,True\n";
    let kline = "1735689600000000,4.15,4.158,4.155,4.1554,539.23,1735693199999999,2240.39,13,401.82,1669.98,0\n";
    let cdd = "https://www.CryptoDataDownload.com\n\
        unix,date,symbol,open,high,low,close,Volume BTC,Volume USDT,tradecount\n\
        1735693200000,2025-01-01 01:00:00,BTC-USDT,2,2,2,2.5,1,1,1\n\
        1735689600000,2025-01-01 00:00:00,BTC-USDT,1,1,1,1.5,1,1,1\n";
    let coinbase = "portfolio,trade id,product,side,created at,size,size unit,price,fee,total,price/fee/total unit\n\
        default,8001,BTC-USD,BUY,2021-01-04T10:11:12.123Z,0.01,BTC,31000.5,1.55,-311.5,USD\n";
    let kaiko =
        "id,exchange,symbol,date,price,amount,sell\n1661990400274591751,cbse,btc-usd,1676246400344,21779.5,402,true\n";
    let stooq = "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>\nSPY,5,20240102,153500,1,1,1,472.1,9,0\n";
    let taq =
        "DATE,TIME_M,EX,SYM_ROOT,SYM_SUFFIX,TR_SCOND,SIZE,PRICE\n20131007,9:30:00.123456789,N,SPY,,@,100,167.41\n";
    let taq_pipe = "Time|Exchange|Symbol|Sale Condition|Trade Volume|Trade Price\n093000123456789|N|SPY|@|100|167.41\n";
    let yahoo = "Date,Open,High,Low,Close,Adj Close,Volume\n2024-01-02,1,1,1,472.65,470.1,123623700\n";
    let tardis = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n\
        deribit,BTC-USD,1585699200245000,1585699200355684,9001,buy,6425.5,10\n";
    let bybit = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional\n\
        1711929600.1234,BTCUSDT,Buy,0.5,71000.1,PlusTick,f3b1,1,1,1\n";
    for (text, options, expected) in [
        (
            agg,
            "--format binance-aggtrades --symbol BNB-BTC",
            vec!["2025-01-01T00:00:00.010866Z BNB-BTC 0.01633102 4.70443515 26129"],
        ),
        (
            header,
            "--format binance-aggtrades --symbol BNB-BTC",
            vec!["2025-01-01T00:00:00.010000Z BNB-BTC 0.01633102 4.70443515 26129"],
        ),
        (
            trade,
            "--format binance-trades --symbol BNB-USDT",
            vec!["2020-03-08T23:17:13.583000Z BNB-USDT 17.80180000 5.69000000 51175358"],
        ),
        (
            kline,
            "--format binance-klines --symbol BNB-USDT --candles close",
            vec!["2025-01-01T00:59:59.999999Z BNB-USDT 4.1554 - -"],
        ),
        (
            cdd,
            "--format cryptodatadownload --candles close",
            vec!["2025-01-01T00:00:00Z BTC-USDT 1.5 - -", "2025-01-01T01:00:00Z BTC-USDT 2.5 - -"],
        ),
        (coinbase, "--format coinbase", vec!["2021-01-04T10:11:12.123000Z BTC-USD 31000.5 0.01 8001"]),
        (kaiko, "--format kaiko", vec!["2023-02-13T00:00:00.344000Z BTC-USD 21779.5 402 1661990400274591751"]),
        (
            "1381095255,123.61,0.1\n1381095255,123.61,0.1\n",
            "--format kraken --symbol BTC-USD",
            vec!["2013-10-06T21:34:15Z BTC-USD 123.61 0.1 -"; 2],
        ),
        (
            "1381095240,122,124,122,123.61,0.1,1\n",
            "--format kraken-ohlcvt --symbol BTC-USD --candles close",
            vec!["2013-10-06T21:34:00Z BTC-USD 123.61 - -"],
        ),
        (stooq, "--format stooq --candles close", vec!["2024-01-02T15:35:00Z SPY 472.1 - -"]),
        (
            "Date,Open,High,Low,Close,Volume\n2024-01-02,1,1,1,472.65,1\n",
            "--format stooq --candles close --symbol SPY",
            vec!["2024-01-02T00:00:00Z SPY 472.65 - -"],
        ),
        (taq, "--format taq", vec!["2013-10-07T13:30:00.123456Z SPY 167.41 100 -"]),
        (taq_pipe, "--format taq --date 2013-10-07", vec!["2013-10-07T13:30:00.123456Z SPY 167.41 100 -"]),
        (yahoo, "--format yahoo --candles close --symbol SPY", vec!["2024-01-02T00:00:00Z SPY 472.65 - -"]),
        (tardis, "--format tardis", vec!["2020-04-01T00:00:00.245000Z BTC-USD 6425.5 10 9001"]),
        (bybit, "--format bybit --symbol BTC-USDT", vec!["2024-04-01T00:00:00.123400Z BTC-USDT 71000.1 0.5 f3b1"]),
    ] {
        let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(read(text, options), Ok(expected), "{options}");
    }
}

#[test]
fn any_other_file_is_read_by_its_columns() {
    let one = |line: &str| Ok(vec![line.to_owned()]);
    for (text, options, expected) in [
        (
            "1735689600,1,2,3,4.5,6\n",
            "--no-header --columns time=0,price=4,size=5 --symbol BTC-USD",
            one("2025-01-01T00:00:00Z BTC-USD 4.5 6 -"),
        ),
        (
            "1735689600,1,2,3,4.5,6\n",
            "--columns time=0,price=4,size=5 --symbol BTC-USD",
            one("2025-01-01T00:00:00Z BTC-USD 4.5 6 -"),
        ),
        (
            "t,o,h,l,c,v\n1735689600,1,2,3,4.5,6\n",
            "--columns time=0,price=4,size=5 --symbol BTC-USD",
            one("2025-01-01T00:00:00Z BTC-USD 4.5 6 -"),
        ),
        (
            "When;Last Price;symbol\n2025-01-01 00:00:00;4.5;BTC-USD\n",
            "--columns time=when,price=Last~Price",
            one("2025-01-01T00:00:00Z BTC-USD 4.5 - -"),
        ),
        ("2025-01-01T00:00:00Z,BTC-USD,4.5,6\n", "--no-header", one("2025-01-01T00:00:00Z BTC-USD 4.5 6 -")),
        (
            "2025-01-01T00:00:00Z,BTC-USD,4.5\n",
            "--no-header --columns time=0,symbol=1,price=2",
            one("2025-01-01T00:00:00Z BTC-USD 4.5 - -"),
        ),
        (
            "1735689600000\tBTC-USD\t4.5\n",
            "--no-header --columns time=0,symbol=1,price=2 --separator tab",
            one("2025-01-01T00:00:00Z BTC-USD 4.5 - -"),
        ),
        (
            "1735689600 4.5\n",
            "--no-header --columns time=0,price=1 --separator space --symbol SPY",
            one("2025-01-01T00:00:00Z SPY 4.5 - -"),
        ),
        (
            "999999999999,4.5\n",
            "--no-header --columns time=0,price=1 --time-unit ms --symbol SPY",
            one("2001-09-09T01:46:39.999000Z SPY 4.5 - -"),
        ),
        (
            "date,time,symbol,price\n2024-07-01,09:30:00,SPY,1\n",
            "--columns date=date,time=time --time-zone America/New_York",
            one("2024-07-01T13:30:00Z SPY 1 - -"),
        ),
        ("time,symbol,price,size,id\n2025-01-01T00:00:00Z,SPY,1,2,a-1\n", "", one("2025-01-01T00:00:00Z SPY 1 2 a-1")),
        (
            "time,symbol,price,size,id\n2025-01-01T00:00:00Z,SPY,1,2,a-1\n",
            "--columns id=none",
            one("2025-01-01T00:00:00Z SPY 1 2 -"),
        ),
        (
            "time,open,high,low,close\n1735689600,1,1,1,4.5\n",
            "--candles close --symbol SPY",
            one("2025-01-01T00:00:00Z SPY 4.5 - -"),
        ),
        (
            "{\"T\":1735689600000,\"t\":7,\"p\":\"4.5\",\"q\":6.0}\n",
            "--columns time=T,price=p,size=q,id=t --symbol SPY",
            one("2025-01-01T00:00:00Z SPY 4.5 6.0 7"),
        ),
    ] {
        assert_eq!(read(text, options), expected, "{text} {options}");
    }
    let mixed = read("time,symbol,price\n1735689600,ETH,1\n1735689601,ETH,2\n1735689602,BTC,3\n", "--symbol ETH-USD");
    let refused = "line 4: symbol \"BTC\" where the lines before have \"ETH\": --symbol is for a file of one symbol";
    assert!(mixed.is_ok_and(|lines| lines.len() == 3 && lines[2] == refused));
}

#[test]
fn the_error_about_a_file_says_what_was_seen_and_which_option_helps() {
    let klines = "1735689600000000,4.15,4.158,4.155,4.1554,539.23,1735693199999999,2240.39,13,401.82,1669.98,0\n";
    for (text, options, parts) in [
        ("when,symbol,price\n", "", vec!["no column \"time\"", "it names when,symbol,price", "--columns time=NAME"]),
        ("time,price\n", "", vec!["no column \"symbol\"", "--symbol BTC-USD"]),
        (
            "26129,0.016,4.7,27781,27781,1735689600010866,True,True\n",
            "",
            vec!["line 1 names no column: it is \"26129,", "--no-header", "--format binance-aggtrades"],
        ),
        ("51175358,17.8,5.69,101.2,1583709433583,True,True\n", "", vec!["--format binance-trades"]),
        (klines, "", vec!["--format binance-klines --candles close"]),
        ("1381095255,123.61,0.1\n", "", vec!["--format kraken"]),
        (
            "unix,date,symbol,open,high,low,close,Volume BTC\n",
            "",
            vec!["candles (unix,date,symbol,open", "--candles close"],
        ),
        ("Date,Open,High,Low,Close,Volume\n", "", vec!["--candles close"]),
        ("time,open,high,low,close\n", "--columns price=close", vec!["--candles close"]),
        ("x\n", "--format stooq", vec!["--format stooq", "--candles close"]),
        ("x\n", "--format kraken --candles close", vec!["the lines of --format kraken are trades"]),
        ("id,exchange,symbol,date,price,amount,sell\n", "", vec!["--format kaiko"]),
        ("portfolio,trade id,product,side,created at,size,price\n", "", vec!["--format coinbase"]),
        ("DATE,TIME_M,SYM_ROOT,SIZE,PRICE\n", "", vec!["--format taq"]),
        (
            "time,symbol,price\n",
            "--columns price=last",
            vec!["--columns price=last: line 1 names no such column, it names time,symbol,price"],
        ),
        ("time,symbol,price\n", "--columns size=7", vec!["--columns size=7"]),
        ("1,2\n", "--no-header --columns time=when,price=1 --symbol SPY", vec!["without a header", "--columns time=0"]),
        ("1,2\n", "--no-header --columns time=0,price=1", vec!["\"symbol\" needs a number", "--symbol"]),
        ("{\"a\":1}\n", "--columns time=0", vec!["whose keys have names and no numbers"]),
        ("[{\"a\":1}]\n", "", vec!["jq -c"]),
        (
            "a,b,c\n1,2,3\n",
            "--format binance-klines --candles close --symbol SPY",
            vec!["no column \"time\"", "it names a,b,c"],
        ),
        ("", "", vec!["no lines"]),
    ] {
        let error = read(text, options).expect_err(text);
        assert!(parts.iter().all(|part| error.contains(part)), "{text} {options}: {error}");
    }
    let times = read("time,symbol,price\n17356896,SPY,1\n12345,SPY,1\n09:30:00,SPY,1\n", "").expect("lines");
    assert!(times[0].contains("--time-unit") && times[1].contains("--time-unit"), "{times:?}");
    assert!(times[2].contains("--date 2018-04-05"), "{times:?}");
}
