//! Keeps notes, one for each name: `PUT /{{name}}/NAME` with `{"text":"..."}`, and `GET /{{name}}/NAME`.

use tulpar::prelude::*;

#[derive(Default)]
struct {{type}};

#[tulpar::controller("/{{name}}")]
impl {{type}} {
    #[get("/{note}")]
    fn read(&self, request: &Request) -> Result<Json<Value>> {
        let note = kv::open("{{name}}")?.get_json(request.param("note")?)?;
        Ok(Json(note.ok_or_else(|| Error::status(404, "There is no such note"))?))
    }

    #[put("/{note}")]
    fn write(&mut self, request: &Request) -> Result<()> {
        let note: Value = request.json()?;
        if !note["text"].is_string() {
            return Err(Error::status(422, "A note has a text"));
        }
        kv::open("{{name}}")?.set_json(request.param("note")?, &note)
    }
}
