//! A controller that obeys commands, and shows what it is told of a request.

use tulpar::prelude::*;
use tulpar_test_guests::Value;
use tulpar_test_guests::reach::{Call, obey};

#[derive(Default)]
struct Desk {
    answered: u64,
}

#[tulpar::controller("/desk", middlewares = ["attach"])]
impl Desk {
    #[post("/obey")]
    fn obey(&mut self, request: &Request) -> Result<Json<Value>> {
        Ok(Json(obey(&request.json::<Call>()?)?))
    }

    #[get("/values")]
    fn values(&mut self, request: &Request) -> Result<Json<Value>> {
        Ok(Json(request.values()?))
    }

    #[get("/answered")]
    fn answered(&mut self) -> Result<String> {
        self.answered += 1;
        Ok(self.answered.to_string())
    }

    #[get("/items/{id}")]
    fn item(&mut self, request: &Request) -> Result<Json<Value>> {
        let prefix = request.header("x-forwarded-prefix");
        let (id, query) = (request.param("id")?, request.query("q"));
        Ok(Json(
            json!({ "id": id, "q": query, "path": request.path(), "prefix": prefix }),
        ))
    }

    #[get("/items/first")]
    fn first(&mut self) -> Result<&'static str> {
        Ok("the literal one")
    }

    #[get("/ürün")]
    fn product(&mut self) -> Result<&'static str> {
        Ok("ürün")
    }

    #[put("/items/{id}")]
    fn replace(&mut self) -> Result<()> {
        Ok(())
    }

    #[post("/items")]
    fn create(&mut self, request: &Request) -> Result<(u16, Json<Value>)> {
        Ok((201, Json(request.json()?)))
    }

    #[get("/missing")]
    fn missing(&mut self) -> Result<()> {
        Err(Error::status(404, "no such thing"))
    }

    #[get("/fails")]
    fn fails(&mut self) -> Result<()> {
        Err(Error::msg("a secret reason"))
    }

    #[get("/panics")]
    fn panics(&mut self) -> Result<()> {
        panic!("told to panic")
    }
}
