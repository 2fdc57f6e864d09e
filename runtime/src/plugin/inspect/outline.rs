//! What stands in a component: what it imports and exports, of how many core modules it consists and what made it.

use serde::Serialize;
use wasmtime::wasmparser::{
    BinaryReader, BinaryReaderError, ComponentExternalKind, Parser, Payload, ProducersSectionReader,
};

/// What stands in a component.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outline {
    /// What it imports, as `PACKAGE/INTERFACE@VERSION`.
    pub imports: Vec<String>,
    /// What it exports, types left out.
    pub exports: Vec<String>,
    /// How many core modules are in it: the guest's own, and the shims around it.
    pub core_modules: usize,
    /// The languages and tools that it says have made it.
    pub producers: Vec<Producer>,
}

/// A language or a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Producer {
    /// What it is called.
    pub name: String,
    /// Its version; may be empty.
    pub version: String,
}

impl Outline {
    /// Reads a component, without validating it.
    ///
    /// # Errors
    /// It cannot be parsed to its end.
    pub fn of(component: &[u8]) -> Result<Self, BinaryReaderError> {
        let mut outline = Self::default();
        // How many modules and components are open around what is read.
        let mut depth = 0;
        for payload in Parser::new(0).parse_all(component) {
            match payload? {
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::ModuleSection { .. } => outline.core_modules += 1,
                Payload::ComponentImportSection(imports) if depth == 1 => {
                    for import in imports {
                        outline.imports.push(import?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 1 => {
                    for export in exports {
                        let export = export?;
                        if export.kind != ComponentExternalKind::Type {
                            outline.exports.push(export.name.name.to_owned());
                        }
                    }
                }
                Payload::CustomSection(section) if section.name() == "producers" => {
                    // Nobody is bound to write it well.
                    let read = outline.add_producers(section.data(), section.data_offset());
                    drop(read);
                }
                _ => {}
            }
        }
        Ok(outline)
    }

    fn add_producers(&mut self, section: &[u8], at: usize) -> Result<(), BinaryReaderError> {
        for field in ProducersSectionReader::new(BinaryReader::new(section, at))? {
            for value in field?.values {
                let value = value?;
                let producer = Producer {
                    name: value.name.to_owned(),
                    version: value.version.to_owned(),
                };
                if !self.producers.contains(&producer) {
                    self.producers.push(producer);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outline_of_a_component_is_that_of_its_outermost_level() {
        let inner = b"\0asm\x0d\0\x01\0";
        let mut file = b"\0asm\x0d\0\x01\0".to_vec();
        // A core module with nothing in it, and a component with nothing in it.
        file.extend(*b"\x01\x08\0asm\x01\0\0\0");
        file.extend([4, 8]);
        file.extend(inner);
        let outline = Outline::of(&file).unwrap();
        assert_eq!(outline.core_modules, 1);
        assert_eq!(outline.imports, [""; 0]);
        assert!(Outline::of(&file[..file.len() - 1]).is_err());
    }
}
