// Raw Bun: the framework-less server that Bun's own WebSocket implementation makes possible.
// /echo sends each message back; /room sends each message to every socket of the room, the sender included.

const ROOM = "room";

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request, server) {
    const { pathname } = new URL(request.url);
    if (pathname !== "/echo" && pathname !== "/room") {
      return new Response("Not Found", { status: 404 });
    }
    if (server.upgrade(request, { data: { room: pathname === "/room" } })) {
      return undefined;
    }
    return new Response("Upgrade Required", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    open(socket) {
      if (socket.data.room) socket.subscribe(ROOM);
    },
    message(socket, message) {
      if (socket.data.room) server.publish(ROOM, message);
      else socket.send(message);
    },
  },
});

console.log(`listening on http://127.0.0.1:${server.port}`);
