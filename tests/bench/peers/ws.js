// node with the package `ws`, without its optional native addons and without compression.
// /echo sends each message back; /room sends each message to every socket of the room, the sender included.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const room = new Set();
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
const server = createServer((request, response) => {
  response.writeHead(426, { connection: "close" }).end();
});

server.on("upgrade", (request, connection, head) => {
  if (request.url !== "/echo" && request.url !== "/room") {
    connection.end("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    return;
  }
  sockets.handleUpgrade(request, connection, head, (socket) => {
    if (request.url === "/echo") {
      socket.on("message", (message, binary) => socket.send(message, { binary }));
      return;
    }
    room.add(socket);
    socket.on("close", () => room.delete(socket));
    socket.on("message", (message, binary) => {
      for (const member of room) member.send(message, { binary });
    });
  });
});

server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
