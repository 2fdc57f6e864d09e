//! Writes the reference of the contract, `docs/wit.md`, from what stands in `wit/`.

use std::fmt::Write as _;
use std::path::Path;

use wit_parser::{
    Docs, Function, FunctionKind, Handle, InterfaceId, PackageId, Resolve, Type, TypeDef,
    TypeDefKind, TypeId, TypeOwner, World, WorldItem, WorldKey,
};

const INTRODUCTION: &str = "\
# The contract

<!-- Made from wit/ by `make wit-docs`. What is changed here is lost: change it there. -->

What passes between the server and a plugin, for those who write plugins in another language or want to know it
exactly. It is written in [WIT](https://component-model.bytecodealliance.org/design/wit.html), the language of the
component model, and this page is made from its text, [wit/plugin.wit](../wit/plugin.wit). The crate for Rust is
described in [Writing plugins](plugins.md).
";

const FOREIGN: &str = "The others are of WASI; their text is in [wit/deps](../wit/deps).\n";

/// The reference of the package in a folder.
///
/// # Panics
/// When the contract is not valid, leaves something undescribed, or has something that this cannot show yet.
#[must_use]
pub fn write(folder: &Path) -> String {
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_dir(folder)
        .unwrap_or_else(|error| panic!("the contract is not valid: {error:#}"));
    let mut page = Page {
        resolve: &resolve,
        package,
        text: INTRODUCTION.to_owned(),
    };
    page.overview();
    page.worlds();
    for interface in resolve.packages[package].interfaces.values() {
        page.interface(*interface);
    }
    page.text
}

struct Page<'a> {
    resolve: &'a Resolve,
    package: PackageId,
    text: String,
}

impl Page<'_> {
    fn overview(&mut self) {
        let package = &self.resolve.packages[self.package];
        self.heading(2, &format!("`{}`", package.name));
        self.docs(&package.docs);
        self.line("\n| interface | what it is |\n|---|---|");
        for (name, id) in &package.interfaces {
            let docs = cell(&first_sentence(&self.resolve.interfaces[*id].docs));
            self.line(&format!("| [`{name}`](#{name}) | {docs} |"));
        }
    }

    fn worlds(&mut self) {
        let package = &self.resolve.packages[self.package];
        let worlds = || package.worlds.values().map(|id| &self.resolve.worlds[*id]);
        // All worlds import the same; the one that exports nothing says what.
        let imports = worlds().find(|world| world.exports.is_empty());
        let imports = imports.expect("a world has the imports");
        for world in worlds() {
            let same = world.imports.keys().eq(imports.imports.keys());
            assert!(same, "the world {} imports something else", world.name);
        }

        let mut text = String::from("\n| world | what it is | exports |\n|---|---|---|\n");
        for world in worlds().filter(|world| !world.exports.is_empty()) {
            let docs = cell(&whole(&world.docs));
            let exports = self.names(world).join(", ");
            writeln!(text, "| `{}` | {docs} | {exports} |", world.name).expect("memory is there");
        }
        let (own, foreign): (Vec<_>, Vec<_>) = imports
            .imports
            .iter()
            .partition(|(key, _)| self.is_own(key));
        let own: Vec<_> = own.iter().map(|(key, _)| self.name(key)).collect();
        let said = whole(&imports.docs);
        let (imports, own) = (&imports.name, own.join(", "));
        write!(
            text,
            "\nEach includes `{imports}`. {said}\n\nOf this package these are {own}. {FOREIGN}"
        )
        .expect("memory is there");
        text.push_str("\n| import | what it is |\n|---|---|\n");
        for (key, item) in foreign {
            let WorldItem::Interface { id, docs, .. } = item else {
                panic!("a world imports interfaces alone");
            };
            let said = match docs.is_empty() {
                true => first_sentence(&self.resolve.interfaces[*id].docs),
                false => whole(docs),
            };
            writeln!(text, "| {} | {} |", self.name(key), cell(&said)).expect("memory is there");
        }
        self.heading(2, "Worlds");
        self.line("\nA world is what one component can import and export. A component may be of several at once.");
        self.text += &text;
    }

    fn interface(&mut self, id: InterfaceId) {
        let interface = &self.resolve.interfaces[id];
        let name = interface.name.as_deref().expect("an interface has a name");
        self.heading(2, &format!("`{name}`"));
        self.docs(&interface.docs);
        self.used_by(id);
        for (name, id) in &interface.types {
            let is_borrowed = matches!(self.resolve.types[*id].kind, TypeDefKind::Type(_));
            if !is_borrowed {
                self.type_definition(name, *id);
            }
        }
        for function in interface.functions.values() {
            if matches!(function.kind, FunctionKind::Freestanding) {
                self.function(function, name);
            }
        }
    }

    fn used_by(&mut self, id: InterfaceId) {
        let package = &self.resolve.packages[self.package];
        let worlds = package.worlds.values().map(|id| &self.resolve.worlds[*id]);
        let key = WorldKey::Interface(id);
        let exporting = worlds.filter(|world| world.exports.contains_key(&key));
        let exporting: Vec<_> = exporting.map(|world| format!("`{}`", world.name)).collect();
        match exporting.is_empty() {
            true => self.line("\nImported; every world has it."),
            false => self.line(&format!(
                "\nExported, in the world {}.",
                exporting.join(", ")
            )),
        }
    }

    fn type_definition(&mut self, name: &str, id: TypeId) {
        let definition = &self.resolve.types[id];
        self.heading(3, &format!("{} `{name}`", definition.kind.as_str()));
        self.docs(&definition.docs);
        let docs = |docs: &Docs| cell(&whole(docs));
        match &definition.kind {
            TypeDefKind::Record(record) => {
                self.line("\n| field | type | what it is |\n|---|---|---|");
                for field in &record.fields {
                    let ty = cell(&self.type_name(&field.ty));
                    self.line(&format!(
                        "| `{}` | `{ty}` | {} |",
                        field.name,
                        docs(&field.docs)
                    ));
                }
            }
            TypeDefKind::Variant(variant) => {
                self.line("\n| case | what it is |\n|---|---|");
                for case in &variant.cases {
                    let holds = case
                        .ty
                        .as_ref()
                        .map(|ty| format!("({})", self.type_name(ty)));
                    let holds = cell(&holds.unwrap_or_default());
                    self.line(&format!(
                        "| `{}{holds}` | {} |",
                        case.name,
                        docs(&case.docs)
                    ));
                }
            }
            TypeDefKind::Enum(cases) => {
                self.line("\n| case | what it is |\n|---|---|");
                for case in &cases.cases {
                    self.line(&format!("| `{}` | {} |", case.name, docs(&case.docs)));
                }
            }
            TypeDefKind::Resource => self.methods(name, id, definition),
            other => panic!("the reference cannot show a {} yet", other.as_str()),
        }
    }

    fn methods(&mut self, name: &str, resource: TypeId, definition: &TypeDef) {
        let TypeOwner::Interface(interface) = definition.owner else {
            panic!("a resource belongs to an interface");
        };
        for function in self.resolve.interfaces[interface].functions.values() {
            if function.kind.resource() == Some(resource) {
                self.function(function, name);
            }
        }
    }

    fn function(&mut self, function: &Function, owner: &str) {
        let skipped = match function.kind {
            FunctionKind::Freestanding => 0,
            FunctionKind::Method(_) => 1,
            _ => panic!("the reference cannot show {} yet", function.name),
        };
        let params = function.params.iter().skip(skipped);
        let params: Vec<_> = params
            .map(|param| format!("{}: {}", param.name, self.type_name(&param.ty)))
            .collect();
        let result = function
            .result
            .as_ref()
            .map(|ty| format!(" -> {}", self.type_name(ty)));
        let name = function.item_name();
        self.heading(3, &format!("`{owner}.{name}`"));
        self.line("\n```wit");
        let result = result.unwrap_or_default();
        self.line(&format!("{name}: func({}){result}", params.join(", ")));
        self.line("```");
        self.docs(&function.docs);
    }

    /// A type as WIT writes it.
    fn type_name(&self, ty: &Type) -> String {
        let name = |ty: &Option<Type>| ty.as_ref().map(|ty| self.type_name(ty));
        let Type::Id(id) = ty else {
            return format!("{ty:?}").to_lowercase();
        };
        let definition = &self.resolve.types[*id];
        if let Some(name) = &definition.name {
            return name.clone();
        }
        match &definition.kind {
            TypeDefKind::Handle(Handle::Own(id)) => self.type_name(&Type::Id(*id)),
            TypeDefKind::Handle(Handle::Borrow(id)) => {
                format!("borrow<{}>", self.type_name(&Type::Id(*id)))
            }
            TypeDefKind::Option(ty) => format!("option<{}>", self.type_name(ty)),
            TypeDefKind::List(ty) => format!("list<{}>", self.type_name(ty)),
            TypeDefKind::Result(result) => match (name(&result.ok), name(&result.err)) {
                (None, None) => "result".to_owned(),
                (Some(ok), None) => format!("result<{ok}>"),
                (ok, Some(error)) => format!("result<{}, {error}>", ok.as_deref().unwrap_or("_")),
            },
            other => panic!("the reference cannot show a {} yet", other.as_str()),
        }
    }

    /// What a world exports.
    fn names(&self, world: &World) -> Vec<String> {
        world.exports.keys().map(|key| self.name(key)).collect()
    }

    /// An interface, as a link when it is on this page.
    fn name(&self, key: &WorldKey) -> String {
        let name = self.resolve.name_world_key(key);
        match (self.is_own(key), key) {
            (true, WorldKey::Interface(id)) => {
                let name = self.resolve.interfaces[*id]
                    .name
                    .as_deref()
                    .unwrap_or(&name);
                format!("[`{name}`](#{name})")
            }
            _ => format!("`{name}`"),
        }
    }

    fn is_own(&self, key: &WorldKey) -> bool {
        let WorldKey::Interface(id) = key else {
            return false;
        };
        self.resolve.interfaces[*id].package == Some(self.package)
    }

    fn heading(&mut self, level: usize, text: &str) {
        self.line(&format!("\n{} {text}", "#".repeat(level)));
    }

    fn docs(&mut self, docs: &Docs) {
        let text = docs.contents.as_deref().unwrap_or_default().trim();
        let about = self.text.trim_end().lines().last().unwrap_or_default();
        assert!(!text.is_empty(), "the contract does not describe {about}");
        self.line(&format!("\n{text}"));
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }
}

/// All of it, in one line.
fn whole(docs: &Docs) -> String {
    let text = docs.contents.as_deref().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn first_sentence(docs: &Docs) -> String {
    let text = whole(docs);
    let end = text.find(". ").map_or(text.len(), |end| end + 1);
    text[..end].to_owned()
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
