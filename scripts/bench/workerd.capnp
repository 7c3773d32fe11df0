# workerd alone, as the floor that Mayfly stands on. Addresses come from the command line.
@0xa4e1c97d52b8f630;

using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [(name = "plain", worker = .plain), (name = "loaders", worker = .loaders)],
  sockets = [
    (name = "plain", http = (), service = "plain"),
    (name = "warm", http = (), service = (name = "loaders", entrypoint = "warm")),
    (name = "first", http = (), service = (name = "loaders", entrypoint = "first")),
    (name = "load", http = (), service = (name = "loaders", entrypoint = "load")),
  ],
);

const plain :Workerd.Worker = (
  modules = [(name = "hello.js", esModule = embed "hello.js")],
  compatibilityDate = "2026-07-01",
);

const loaders :Workerd.Worker = (
  modules = [
    (name = "loaders.js", esModule = embed "loaders.js"),
    (name = "hello.txt", text = embed "hello.js"),
  ],
  compatibilityDate = "2026-07-01",
  bindings = [(name = "LOADER", workerLoader = ())],
);
