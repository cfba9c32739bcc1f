// Parse Server with LiveQuery in one process on this machine. Environment: PG_URI, PORT.
const http = require("http");
const express = require("express");
const { ParseServer } = require("parse-server");

async function main() {
  const port = Number(process.env.PORT);
  const api = new ParseServer({
    databaseURI: process.env.PG_URI,
    appId: "bench",
    masterKey: "bench",
    masterKeyIps: ["127.0.0.1"],
    serverURL: `http://127.0.0.1:${port}/parse`,
    liveQuery: { classNames: ["Notes"] },
    allowClientClassCreation: true,
    logLevel: "error",
    silent: true,
  });
  await api.start();
  const app = express();
  app.use("/parse", api.app);
  const server = http.createServer(app);
  server.listen(port, "127.0.0.1");
  await ParseServer.createLiveQueryServer(server);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
