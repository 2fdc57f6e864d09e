//! Names for things that have to be told apart: sockets, tenants, plugins.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// The id of a node: random, drawn when the process starts. Its text form is eight hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

impl NodeId {
    /// Draws a new id.
    ///
    /// # Errors
    /// The operating system has no randomness to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        Ok(Self(getrandom::u32()?))
    }

    /// Its form between nodes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }

    /// The id of that form.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_be_bytes(bytes))
    }
}

/// The id of a socket: the node that holds the connection and 128 random bits. Unguessable, and unique across nodes.
/// Its text form is 40 hexadecimal digits, the node's eight first; ids are in the order of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SocketId {
    node: NodeId,
    /// As bytes, the highest first: a number of 128 bits would make it a multiple of 16 bytes, in each list of sockets.
    random: [u8; 16],
}

impl SocketId {
    /// The length of its form between nodes, in bytes.
    pub const LENGTH: usize = 20;

    /// Its form between nodes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..4].copy_from_slice(&self.node.to_bytes());
        bytes[4..].copy_from_slice(&self.random);
        bytes
    }

    /// The id of that form.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        let [first, second, third, fourth, random @ ..] = bytes;
        Self {
            node: NodeId::from_bytes([first, second, third, fourth]),
            random,
        }
    }

    /// Draws a new id for a socket of `node`.
    ///
    /// # Errors
    /// The operating system has no randomness to give.
    pub fn random(node: NodeId) -> Result<Self, getrandom::Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        Ok(Self { node, random })
    }

    /// The node that holds the socket.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }
}

impl Hash for SocketId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.node.hash(state);
        // At once, and not byte by byte.
        state.write_u128(u128::from_ne_bytes(self.random));
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let random = u128::from_be_bytes(self.random);
        write!(f, "{}{random:032x}", self.node)
    }
}

/// A text is not the id of any socket.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a socket id: 40 lower-case hexadecimal digits are expected")]
pub struct InvalidSocketId;

impl FromStr for SocketId {
    type Err = InvalidSocketId;

    /// Accepts exactly what `Display` writes, so that one socket has one spelling.
    fn from_str(text: &str) -> Result<Self, InvalidSocketId> {
        let digits = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if text.len() != 40 || !text.bytes().all(digits) {
            return Err(InvalidSocketId);
        }
        let (node, random) = text.split_at(8);
        let random = u128::from_str_radix(random, 16).map_err(|_| InvalidSocketId)?;
        Ok(Self {
            node: NodeId(u32::from_str_radix(node, 16).map_err(|_| InvalidSocketId)?),
            random: random.to_be_bytes(),
        })
    }
}

/// Which plugin: its file's name without the ending, below its tenant's folder when it has one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginId {
    /// The tenant, that is the folder below `plugins/`; none for a file in `plugins/` itself.
    pub tenant: Option<String>,
    /// The file's name without `.wasm`.
    pub name: String,
}

impl PluginId {
    /// What it is called in the configuration: the file's name without the ending, behind `TENANT/` for a tenant's.
    #[must_use]
    pub fn key(&self) -> String {
        match &self.tenant {
            Some(tenant) => format!("{tenant}/{}", self.name),
            None => self.name.clone(),
        }
    }
}

impl fmt::Display for PluginId {
    /// The file's path below `plugins/`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(tenant) = &self.tenant {
            write!(f, "{tenant}/")?;
        }
        write!(f, "{}.wasm", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c7_a_socket_id_has_one_spelling() {
        let id = SocketId::random(NodeId(0xab)).unwrap();
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        assert!(text.starts_with("000000ab"));
        for wrong in [
            text.to_uppercase(),
            format!("+{}", &text[1..]),
            format!("{text}0"),
            String::new(),
            "ü".repeat(20),
        ] {
            assert_eq!(wrong.parse::<SocketId>(), Err(InvalidSocketId), "{wrong}");
        }
    }
}
