# The quarantine: starts uploaded versions for the first time. It can reach no other process and
# holds nothing; the watchdog ends it when code at top level never returns.
@0xa8e2f4c1b6d30957;

using Workerd = import "/workerd/workerd.capnp";
using Compatibility = import "compatibility.capnp";

const config :Workerd.Config = (
  services = [
    (name = "mayfly", worker = .mayfly),
    (name = "internet", network = (allow = [])),
  ],
  sockets = [
    (name = "role", http = (capnpConnectHost = "miniflare-unsafe-internal-capnp-connect"), service = (name = "mayfly", entrypoint = "Quarantine")),
  ],
);

const mayfly :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = Compatibility.date,
  compatibilityFlags = Compatibility.flags,
  bindings = [
    (name = "LOADER", workerLoader = ()),
    (name = "MAYFLY_RUNTIME", text = "workerd"),
  ],
);
