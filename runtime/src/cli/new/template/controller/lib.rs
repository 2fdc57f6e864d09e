//! Keeps notes by their names: `PUT /crate-name/NAME` with `{"text":"..."}`, and `GET /crate-name/NAME`.

use tulpar::prelude::*;

#[derive(Default)]
struct CrateName;

#[tulpar::controller("/crate-name")]
impl CrateName {
    #[get("/{note}")]
    fn read(&self, request: &Request) -> Result<Json<Value>> {
        let note = kv::open("crate-name")?.get_json(name(request)?)?;
        let note = note.ok_or_else(|| Error::status(404, "There is no such note"))?;
        Ok(Json(note))
    }

    #[put("/{note}")]
    fn write(&mut self, request: &Request) -> Result<()> {
        let note: Value = request.json()?;
        if !note["text"].is_string() {
            return Err(Error::status(422, "A note has a text"));
        }
        kv::open("crate-name")?.set_json(name(request)?, &note)
    }
}

/// The name in the path. A key of the store has 256 bytes at most.
fn name(request: &Request) -> Result<&str> {
    let name = request.param("note")?;
    match name.len() {
        ..=256 => Ok(name),
        _ => Err(Error::status(404, "No note has so long a name")),
    }
}
