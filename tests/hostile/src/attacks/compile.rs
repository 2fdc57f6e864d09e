//! Components that are valid, within the size limit, and far more work than they look.

use std::cell::OnceCell;
use std::rc::Rc;

use tulpar_tests::Mould;

use crate::arena::{Arena, Settled};
use crate::component;
use crate::row::Row;

pub fn rows() -> Vec<Row> {
    vec![
        bomb_row("compile-bomb", "giant", giant_function),
        bomb_row("compile-many-functions", "many", many_functions),
        bomb_row("compile-deep-nesting", "deep", deep_nesting),
        bomb_row("many-memories", "memories", many_memories),
        bomb_row("many-instances", "instances", many_instances),
    ]
}

/// A row whose component is made before anything is measured, because making it takes the processor too.
fn bomb_row(name: &str, file: &'static str, make: fn() -> Vec<u8>) -> Row {
    let bytes = Rc::new(OnceCell::new());
    let made = Rc::clone(&bytes);
    let arm = move |builder| {
        made.get_or_init(make);
        builder
    };
    Row::new(name, arm, move |arena| {
        let bytes = bytes.get().cloned().unwrap_or_default();
        Box::pin(is_a_bomb(arena, file, bytes))
    })
}

/// It is refused, or it is compiled within the limits and served. What matters is that nobody waits for it.
async fn is_a_bomb(arena: &Arena, name: &str, bytes: Vec<u8>) -> String {
    let size = bytes.len() as f64 / f64::from(1 << 20);
    let file = format!("evil1/{name}.wasm");
    let begun = std::time::Instant::now();
    arena.server.drop_in(&file, &bytes);
    let outcome = match arena.settled(&file).await {
        Settled::Refused(why) => why,
        Settled::Served(_) => "served".to_owned(),
    };
    format!("{size:.1} MiB, {outcome}, after {:.1?}", begun.elapsed())
}

/// One function of hundreds of thousands of instructions, with so many values alive at once that no machine has the
/// registers, and branches between them.
fn giant_function() -> Vec<u8> {
    const LOCALS: usize = 500;
    const STEPS: usize = 150_000;
    let mut body = format!("(local{})\n", " i32".repeat(LOCALS));
    for step in 0..STEPS {
        let (to, one, other) = (
            step % LOCALS,
            (step * 7 + 3) % LOCALS,
            (step * 13 + 5) % LOCALS,
        );
        body.push_str(&format!(
            "(if (local.get {one}) (then (local.set {to} (i32.mul (local.get {other}) (i32.add (local.get {one}) (i32.const {step}))))))\n"
        ));
    }
    component::namespace("/giant", &format!("(func {body})"), "(i32.const 0)")
}

/// Tens of thousands of functions.
fn many_functions() -> Vec<u8> {
    const FUNCTIONS: usize = 60_000;
    let body = "(local i32 i64 f64)".to_owned()
        + &"(local.set 0 (i32.rotl (i32.div_u (local.get 0) (i32.const 3)) (local.get 0)))\n"
            .repeat(20);
    let fields = format!("(func {body})\n").repeat(FUNCTIONS);
    component::namespace("/many", &fields, "(i32.const 0)")
}

/// Blocks within blocks, each of which may be left for any other.
fn deep_nesting() -> Vec<u8> {
    const DEPTH: usize = 3_000;
    let targets: String = (0..DEPTH).map(|target| format!(" {target}")).collect();
    let table = format!("(br_table{targets} (local.get 0))");
    let mut body = String::from("(local i32)\n");
    body.push_str(&"(block ".repeat(DEPTH));
    body.push_str(&table);
    for depth in 0..DEPTH {
        body.push_str(") (local.set 0 (i32.add (local.get 0) (i32.const 1)))\n");
        if depth % 10 == 0 {
            let left: String = (0..DEPTH - depth - 1)
                .map(|target| format!(" {target}"))
                .collect();
            if !left.is_empty() {
                body.push_str(&format!(
                    "(if (local.get 0) (then (br_table{left} (local.get 0))))\n"
                ));
            }
        }
    }
    component::namespace("/deep", &format!("(func {body})"), "(i32.const 0)")
}

/// A good namespace that has many memories beside its own, each as large as one may be.
fn many_memories() -> Vec<u8> {
    let instance = "(core instance (instantiate $large))\n";
    let fields = format!(
        "(core module $large (memory 1024))\n{}",
        instance.repeat(25)
    );
    component::with_fields(&Mould::namespace("/memories").bytes(), &fields)
}

/// A good namespace that consists of hundreds of instances.
fn many_instances() -> Vec<u8> {
    let instance = "(core instance (instantiate $small))\n";
    let fields = format!(
        "(core module $small (table 1000 funcref))\n{}",
        instance.repeat(900)
    );
    component::with_fields(&Mould::namespace("/instances").bytes(), &fields)
}
