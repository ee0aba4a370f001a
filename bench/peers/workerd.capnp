using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [(name = "main", worker = .echo)],
  sockets = [(name = "tcp", address = "127.0.0.1:1", tcp = (), service = "main")],
);

const echo :Workerd.Worker = (
  modules = [(name = "echo", esModule = embed "echo.js")],
  compatibilityDate = "2026-11-01",
  compatibilityFlags = ["experimental"],
);
