//! Icons of assets: which files are icons, and how they are named. An SVG is none, because it can carry scripts.

use std::{collections::BTreeMap, fmt};

use events::{Asset, Symbol};

/// The media type of an icon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IconType {
    /// A file of Portable Network Graphics.
    Png,
    /// A file of WebP, lossy or lossless.
    Webp,
}

/// Why a file is no icon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IconError {
    /// It has too many bytes.
    Bytes(usize),
    /// It is neither PNG nor WebP.
    Type,
}

impl fmt::Display for IconError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => {
                write!(f, "it has {bytes} bytes, and an icon has at most {}: make it smaller", IconType::MOST_BYTES)
            }
            Self::Type => {
                f.write_str("it is neither PNG nor WebP: convert it; SVG is not taken because it can carry scripts")
            }
        }
    }
}

impl std::error::Error for IconError {}

impl IconType {
    /// All types that an icon may have.
    pub const ALL: [Self; 2] = [Self::Png, Self::Webp];
    /// The most bytes of an icon.
    pub const MOST_BYTES: usize = 64 << 10;

    /// Returns the type of a file by its first bytes, whatever its name says. The error says why it is no icon.
    pub fn of(bytes: &[u8]) -> Result<Self, IconError> {
        if bytes.len() > Self::MOST_BYTES {
            return Err(IconError::Bytes(bytes.len()));
        }
        // A PNG begins with its signature and the length and type of its first chunk, a WebP with a RIFF header.
        if bytes.starts_with(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR") && bytes.len() > 33 {
            Ok(Self::Png)
        } else if bytes.starts_with(b"RIFF") && bytes.get(8..15) == Some(b"WEBPVP8") && bytes.len() > 30 {
            Ok(Self::Webp)
        } else {
            Err(IconError::Type)
        }
    }

    /// Returns the media type as HTTP names it.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Webp => "image/webp",
        }
    }

    /// Returns the name of the file of an asset's icon.
    pub fn file_name(self, asset: &Asset) -> String {
        format!("{asset}.{}", self.ending())
    }

    fn ending(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Webp => "webp",
        }
    }
}

/// The icons that there are, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Icons {
    /// What stands before the name of a file, like `../icons/`.
    base: String,
    names: BTreeMap<String, String>,
}

impl Icons {
    /// Takes the names of the files in a folder; what is no icon is ignored.
    pub fn new(base: &str, names: impl IntoIterator<Item = String>) -> Self {
        let by_asset = |name: String| {
            let (asset, ending) = name.rsplit_once('.')?;
            let is_icon = Asset::parse(asset).is_ok() && IconType::ALL.iter().any(|kind| kind.ending() == ending);
            is_icon.then(|| (asset.to_owned(), name.clone()))
        };
        Self { base: base.to_owned(), names: names.into_iter().filter_map(by_asset).collect() }
    }

    /// Returns the address of the icon of what a symbol is a price of.
    pub(crate) fn find(&self, symbol: &Symbol) -> Option<String> {
        let name = self.names.get(symbol.base().as_str())?;
        Some(format!("{}{name}", self.base))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_an_icon_by_its_bytes_and_its_size() {
        let png = [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice(), &[0; 30]].concat();
        let webp = [b"RIFF\x24\0\0\0WEBPVP8L".as_slice(), &[0; 30]].concat();
        assert_eq!((IconType::of(&png), IconType::of(&webp)), (Ok(IconType::Png), Ok(IconType::Webp)));
        for other in [b"".as_slice(), b"<svg xmlns", b"\x89PNG\r\n\x1a\n", b"GIF89a", &png[..20], &webp[..12]] {
            assert_eq!(IconType::of(other), Err(IconError::Type), "{other:?}");
        }
        let large = [png, vec![0; IconType::MOST_BYTES]].concat();
        assert_eq!(IconType::of(&large), Err(IconError::Bytes(large.len())));
    }

    #[test]
    fn an_icon_is_found_by_what_a_symbol_is_a_price_of() {
        let names = ["BTC.png", "SPY.webp", "ETH.svg", "ETH", "../x.png", ".png"].map(str::to_owned);
        let icons = Icons::new("../icons/", names);
        let find = |text: &str| icons.find(&Symbol::parse(text).expect("a symbol"));
        assert_eq!(find("BTC-EUR").as_deref(), Some("../icons/BTC.png"));
        assert_eq!(find("SPY").as_deref(), Some("../icons/SPY.webp"));
        assert_eq!(find("ETH-USD"), None);
        assert!(Icons::default().is_empty() && !icons.is_empty());
    }
}
