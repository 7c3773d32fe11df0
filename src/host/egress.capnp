# The egress process: what executors in a sandbox send to hosts leaves through it, to public addresses only.
# It runs no user's code and holds nothing.
@0xb94d7f0a2c5e1638;

using Workerd = import "/workerd/workerd.capnp";
using Compatibility = import "compatibility.capnp";

const config :Workerd.Config = (
  services = [
    (name = "mayfly", worker = .mayfly),
  ],
  sockets = [
    # As a proxy is asked, so with the whole URL and with CONNECT; TLS to hosts begins here.
    (name = "role", http = (style = proxy), service = (name = "mayfly", entrypoint = "Outside")),
    (name = "ping", http = (), service = "mayfly"),
  ],
);

const mayfly :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = Compatibility.date,
  compatibilityFlags = Compatibility.flags,
  bindings = [
    (name = "MAYFLY_RUNTIME", text = "workerd"),
    (name = "MAYFLY_DOMAIN", text = "localhost"),
    (name = "MAYFLY_EGRESS_MARK", fromEnvironment = "MAYFLY_EGRESS_MARK"),
  ],
);
