//! What a client offers and what is made of it (RFC 7692, sections 5 and 7.1). Nothing but text goes in, nothing but text
//! and numbers come out.

use crate::config::Compression;

/// The extension's name.
const NAME: &str = "permessage-deflate";
/// The windows that there are, in bits; the largest holds unless something else is said.
const LARGEST: u8 = 15;

/// How one of the two compresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side {
    /// How far it refers back at most: two to that power, in bytes.
    pub window_bits: u8,
    /// Whether it may refer to earlier messages.
    pub takeover: bool,
}

/// What client and server have agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// How the server compresses.
    pub server: Side,
    /// How the client compresses.
    pub client: Side,
}

/// Chooses among what a client offers in its `Sec-WebSocket-Extensions` headers, which are `values`: the first offer of
/// permessage-deflate that can be accepted. Returns what is agreed on then, and the text of the answer's header.
///
/// `refers_back`: whether the server may refer to earlier messages, as far as the client is concerned.
///
/// What is malformed or unknown declines the offer that it stands in and is no error, as if the extension were not known.
pub fn negotiate<'a>(
    values: impl IntoIterator<Item = &'a str>,
    compression: &Compression,
    refers_back: bool,
) -> Option<(Agreement, String)> {
    values
        .into_iter()
        .flat_map(|value| split(value, b','))
        .filter_map(Offer::parse)
        .find_map(|offer| offer.accept(compression, refers_back))
}

/// One offer of permessage-deflate. For each parameter whether it is there, or with what value.
#[derive(Debug, Default)]
struct Offer {
    server_no_context_takeover: Option<()>,
    client_no_context_takeover: Option<()>,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: Option<Option<u8>>,
}

impl Offer {
    /// None when it is of another extension, or one that cannot be accepted.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = split(text, b';');
        if parts.next()? != NAME {
            return None;
        }
        let mut offer = Self::default();
        for part in parts {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim_end(), Some(unquoted(value.trim_start()))),
                None => (part, None),
            };
            // Each of them once.
            let first = match (name, value) {
                ("server_no_context_takeover", None) => {
                    offer.server_no_context_takeover.replace(()).is_none()
                }
                ("client_no_context_takeover", None) => {
                    offer.client_no_context_takeover.replace(()).is_none()
                }
                ("server_max_window_bits", Some(value)) => {
                    let bits = window_bits(value)?;
                    offer.server_max_window_bits.replace(bits).is_none()
                }
                ("client_max_window_bits", None) => {
                    offer.client_max_window_bits.replace(None).is_none()
                }
                ("client_max_window_bits", Some(value)) => {
                    let bits = window_bits(value)?;
                    offer.client_max_window_bits.replace(Some(bits)).is_none()
                }
                _ => return None,
            };
            if !first {
                return None;
            }
        }
        Some(offer)
    }

    fn accept(self, compression: &Compression, refers_back: bool) -> Option<(Agreement, String)> {
        let most = compression.window_bits;
        let takeover = compression.context_takeover;
        let server = Side {
            window_bits: server_window(self.server_max_window_bits.unwrap_or(LARGEST), most)?,
            takeover: takeover && refers_back && self.server_no_context_takeover.is_none(),
        };
        let client = Side {
            // A client that does not speak of its window cannot be told to have a smaller one.
            window_bits: match self.client_max_window_bits {
                Some(bits) => bits.unwrap_or(LARGEST).min(most),
                None => LARGEST,
            },
            takeover: takeover && self.client_no_context_takeover.is_none(),
        };
        let mut answer = NAME.to_owned();
        if !server.takeover {
            answer += "; server_no_context_takeover";
        }
        if !client.takeover {
            answer += "; client_no_context_takeover";
        }
        if self.server_max_window_bits.is_some() || server.window_bits < LARGEST {
            answer += &format!("; server_max_window_bits={}", server.window_bits);
        }
        if client.window_bits < LARGEST {
            answer += &format!("; client_max_window_bits={}", client.window_bits);
        }
        Some((Agreement { server, client }, answer))
    }
}

/// The window that the server compresses with for a client that reads with one of `asked` bits. A smaller one is always
/// allowed. So one of three is chosen, 9, 12 and what is set: a message to many is compressed at most three times, whatever
/// its receivers have asked for.
///
/// None for a window of 256 bytes: zlib has none without a header that works. Others take 512 bytes for it, trusting that
/// zlib keeps so far away from the end of its window that it never refers to what is farther than 256 bytes.
fn server_window(asked: u8, most: u8) -> Option<u8> {
    [most, 12, 9]
        .into_iter()
        .find(|&bits| bits <= most.min(asked))
}

/// A decimal number from 8 to 15, without leading zeros.
fn window_bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok().filter(|bits| (8..=15).contains(bits))?;
    // "+9" and "09" are numbers elsewhere.
    (value.len() == if bits < 10 { 1 } else { 2 }).then_some(bits)
}

/// A value without its quotation marks. One that is escaped in them as well is none of those that are looked for.
fn unquoted(value: &str) -> &str {
    value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
        .unwrap_or(value)
}

/// The parts of a text between delimiters that are not quoted, without the spaces around them.
fn split(text: &str, delimiter: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = text.bytes().position(|byte| {
            let ends = byte == delimiter && !quoted;
            quoted ^= byte == b'"' && !escaped;
            escaped = byte == b'\\' && quoted && !escaped;
            ends
        });
        rest = end.map(|end| &text[end + 1..]);
        Some(text[..end.unwrap_or(text.len())].trim_matches([' ', '\t']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: Compression = Compression {
        threshold: 256,
        window_bits: 15,
        context_takeover: true,
        ratio: 100,
    };

    fn answer_to(values: &[&str], compression: &Compression) -> Option<String> {
        negotiate(values.iter().copied(), compression, true).map(|(_, answer)| answer)
    }

    fn expect(offer: &str, answer: Option<&str>) {
        let found = answer_to(&[offer], &SET);
        let answer = answer.map(|rest| format!("{NAME}{rest}"));
        assert_eq!(found, answer, "{offer}");
    }

    #[test]
    fn an_offer_is_accepted_with_what_it_asks_for() {
        for (offer, answer) in [
            ("", ""),
            ("; client_max_window_bits", ""),
            ("; client_max_window_bits=15", ""),
            ("; client_max_window_bits=10", "; client_max_window_bits=10"),
            ("; client_max_window_bits=8", "; client_max_window_bits=8"),
            (
                "; client_max_window_bits=\"9\"",
                "; client_max_window_bits=9",
            ),
            ("; server_max_window_bits=15", "; server_max_window_bits=15"),
            ("; server_max_window_bits=14", "; server_max_window_bits=12"),
            ("; server_max_window_bits=12", "; server_max_window_bits=12"),
            ("; server_max_window_bits=11", "; server_max_window_bits=9"),
            ("; server_max_window_bits=9", "; server_max_window_bits=9"),
            (
                "; server_no_context_takeover",
                "; server_no_context_takeover",
            ),
            (
                "; client_no_context_takeover",
                "; client_no_context_takeover",
            ),
            (
                ";client_max_window_bits = 9 ;server_max_window_bits\t=\t\"10\";\
                 client_no_context_takeover ; server_no_context_takeover",
                "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; \
                 client_max_window_bits=9",
            ),
        ] {
            expect(&format!("{NAME}{offer}"), Some(answer));
        }
    }

    #[test]
    fn an_offer_that_is_malformed_or_asks_for_what_there_is_not_is_declined() {
        for parameters in [
            "; server_max_window_bits",
            "; server_max_window_bits=",
            "; server_max_window_bits=8",
            "; server_max_window_bits=7",
            "; server_max_window_bits=16",
            "; server_max_window_bits=010",
            "; server_max_window_bits=+9",
            "; server_max_window_bits=9.0",
            "; server_max_window_bits=-9",
            "; server_max_window_bits=9 9",
            "; server_max_window_bits=265",
            "; server_max_window_bits=\"9",
            "; server_max_window_bits=\"\\9\"",
            "; server_max_window_bits=9; server_max_window_bits=9",
            "; client_max_window_bits=",
            "; client_max_window_bits=7",
            "; client_max_window_bits=16",
            "; client_max_window_bits=08",
            "; client_max_window_bits; client_max_window_bits",
            "; client_max_window_bits=9; client_max_window_bits",
            "; server_no_context_takeover=1",
            "; server_no_context_takeover=",
            "; server_no_context_takeover; server_no_context_takeover",
            "; client_no_context_takeover=true",
            "; client_no_context_takeover; client_no_context_takeover",
            "; Server_no_context_takeover",
            "; mystery",
            "; mystery=9",
            ";",
            "; ;",
            "; =9",
            " server_no_context_takeover",
            "=1",
        ] {
            expect(&format!("{NAME}{parameters}"), None);
        }
        for other in [
            "",
            " ",
            ",",
            "x-webkit-deflate-frame",
            "permessage-bzip2",
            "Permessage-Deflate",
            "\"permessage-deflate\"",
            "a; b=\", permessage-deflate\"",
            "a; b=\"\\\", permessage-deflate\"",
        ] {
            expect(other, None);
        }
    }

    #[test]
    fn of_several_offers_the_first_that_can_be_accepted_is() {
        let second = Some("permessage-deflate; server_max_window_bits=9".to_owned());
        for values in [
            &[
                "permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=9",
            ][..],
            &[
                "permessage-deflate; mystery",
                "permessage-deflate; server_max_window_bits=9",
            ],
            &["a;b=\",\", , permessage-deflate; server_max_window_bits=9, permessage-deflate"],
            &[
                "a;b=\"\\\",\"",
                "permessage-deflate; server_max_window_bits=9",
                "permessage-deflate",
            ],
        ] {
            assert_eq!(answer_to(values, &SET), second, "{values:?}");
        }
    }

    #[test]
    fn what_is_set_bounds_both_windows_and_what_is_referred_to() {
        let small = Compression {
            window_bits: 10,
            ..SET
        };
        for (offer, answer) in [
            ("", "; server_max_window_bits=10"),
            (
                "; client_max_window_bits",
                "; server_max_window_bits=10; client_max_window_bits=10",
            ),
            (
                "; client_max_window_bits=9; server_max_window_bits=9",
                "; server_max_window_bits=9; client_max_window_bits=9",
            ),
            ("; server_max_window_bits=12", "; server_max_window_bits=10"),
        ] {
            let found = answer_to(&[&format!("{NAME}{offer}")], &small);
            assert_eq!(found, Some(format!("{NAME}{answer}")), "{offer}");
        }
        let forgetful = Compression {
            context_takeover: false,
            ..SET
        };
        assert_eq!(
            answer_to(&[NAME], &forgetful).as_deref(),
            Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover")
        );
        let (agreement, answer) = negotiate([NAME], &SET, false).unwrap();
        assert_eq!(answer, "permessage-deflate; server_no_context_takeover");
        let [server, client] = [false, true].map(|takeover| Side {
            window_bits: 15,
            takeover,
        });
        assert_eq!(agreement, Agreement { server, client });
    }
}
