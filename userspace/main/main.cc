// The daemon: flags, configuration, server, admin; and the order in which they come and go.
#include <fmt/format.h>
#include <sys/resource.h>

#include <cstdio>
#include <fstream>
#include <iostream>

#include "admin/server.h"
#include "base/log.h"
#include "config/config_dump.h"
#include "config/loader.h"
#include "config/support.h"
#include "config/reloadable_transport.h"
#include "config/translate.h"
#include "main/fastpath_command.h"
#include "main/flags.h"
#include "server/server.h"
#include "server/signals.h"

namespace millrace {
namespace {

bool set_up_logging(const Flags& flags) {
  base::Result<base::LogLevel> level = base::parse_log_level(flags.log_level);
  if (!level.ok()) {
    std::cerr << "millrace: --log-level: " << level.error().what << "\n";
    return false;
  }
  base::set_log_level(*level);
  std::string_view rest = flags.component_log_level;
  while (!rest.empty()) {
    const std::string_view item = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), item.size() + 1));
    const size_t colon = item.find(':');
    base::Result<base::LogLevel> one =
        base::parse_log_level(colon == std::string_view::npos ? std::string_view() : item.substr(colon + 1));
    base::Result<void> set = one.ok() ? base::set_log_level(item.substr(0, colon), *one) : one.error();
    if (!set.ok()) {
      std::cerr << "millrace: --component-log-level '" << item << "': " << set.error().what << "\n";
      return false;
    }
  }
  if (base::Result<void> opened = base::set_log_file(flags.log_path); !opened.ok()) {
    std::cerr << "millrace: --log-path: " << opened.error().what << "\n";
    return false;
  }
  return true;
}

// As many descriptors as we may have: a proxy's connections are two each.
void raise_descriptor_limit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

int print_validation(const config::LoadedSnapshot& loaded) {
  if (!loaded.messages.empty()) std::cerr << loaded.messages << (loaded.messages.back() == '\n' ? "" : "\n");
  for (const config::SupportNote& note : loaded.ignored) {
    std::cout << "ignored: " << note.path << ": " << note.what << "\n";
  }
  if (loaded.snapshot == nullptr) {
    std::cerr << fmt::format("millrace: the configuration has {} error{}\n", loaded.errors,
                             loaded.errors == 1 ? "" : "s");
    return 1;
  }
  std::cout << "configuration OK\n";
  return 0;
}

// A piece of the dump in each turn.
class ConfigDumpBody final : public admin::Body {
 public:
  explicit ConfigDumpBody(std::unique_ptr<config::JsonText> json) : json_(std::move(json)) {}
  bool next(base::Buffer& out) override {
    piece_.clear();
    const bool more = json_->next(piece_);
    out.append(piece_);
    return more;
  }

 private:
  const std::unique_ptr<config::JsonText> json_;
  std::string piece_;
};

class Daemon {
 public:
  Daemon(const Flags& flags, io::Loop& loop, stats::Store& store, stream::AccessLogFiles& files,
         std::shared_ptr<const config::Snapshot> snapshot)
      : flags_(flags), loop_(loop), store_(store),
        server_(server_options(flags), loop, store, files, std::move(snapshot)), context_{.store = store} {
    fill_context();
    context_.access_logs = &server_.snapshot().admin.access_logs;
    context_.access_log_files = &files;
  }

  base::Result<void> start() {
    const config::Admin& admin = server_.snapshot().admin;
    if (admin.address) {
      admin::AdminOptions options;
      options.address = *admin.address;
      options.socket_options = admin.socket_options;
      auto created = admin::AdminServer::create(loop_, std::move(options), context_);
      if (!created.ok()) return created.error();
      admin_ = std::move(*created);
      MILLRACE_LOG(kInfo, "admin", "admin address: {}", admin_->address().to_string());
      if (!flags_.admin_address_path.empty()) {
        std::ofstream file(flags_.admin_address_path);
        file << admin_->address().to_string();
        if (!file.flush()) MILLRACE_LOG(kError, "admin", "cannot write '{}'", flags_.admin_address_path);
      }
      admin_->start();
    }
    return server_.start();
  }
  void run() { server_.run(); }
  void stop() { if (admin_ != nullptr) admin_->stop(); }

 private:
  static server::ServerOptions server_options(const Flags& flags) {
    server::ServerOptions options;
    options.concurrency = static_cast<uint16_t>(flags.concurrency);
    options.drain_time = flags.drain_time;
    options.take_over = flags.restart_epoch > 0;
    options.access_log_flush_interval = flags.file_flush_interval;
    return options;
  }

  void fill_context() {
    context_.state = [this] {
      if (server_.healthcheck_failed() || server_.state() == server::State::kDraining)
        return admin::ServerState::kDraining;
      return server_.state() == server::State::kLive ? admin::ServerState::kLive : admin::ServerState::kInitializing;
    };
    context_.facts = [this] { return facts(); };
    context_.refresh_stats = [this] { server_.refresh_stats(); };
    context_.clusters = [this] { return server_.snapshot().clusters; };
    context_.listeners = [this] {
      std::vector<admin::ListenerStatus> all;
      for (const auto& listener : server_.listeners()) all.push_back({listener->options->name, listener->bound});
      return all;
    };
    context_.runtime = [this] {
      std::vector<admin::RuntimeLayer> layers;
      for (const config::RuntimeLayer& layer : server_.snapshot().runtime_layers)
        layers.push_back({layer.name, layer.values});
      return layers;
    };
    context_.certificates = [this] {
      std::vector<admin::CertificateStatus> all;
      for (const auto& transport : server_.snapshot().transports) {
        const auto context = transport->context();
        all.push_back({context->authority(), context->certificate_chains()});
      }
      return all;
    };
    context_.config_dump = [this](const admin::ConfigDumpQuery& query) -> base::Result<std::unique_ptr<admin::Body>> {
      auto json = server_.snapshot().config_dump->json({query.resource, query.mask, query.name_regex});
      if (!json.ok()) return json.error();
      return std::unique_ptr<admin::Body>(std::make_unique<ConfigDumpBody>(std::move(*json)));
    };
    context_.fast_path = [this] { return server_.fast_path().status(); };
    context_.short_circuit = [this] { return server_.fast_path().short_circuit(); };
    context_.drain_listeners = [this](const admin::DrainRequest& request) {
      server_.drain_listeners(request.inbound_only ? server::Server::DrainScope::kInboundOnly
                                                   : server::Server::DrainScope::kAll,
                              request.graceful, request.skip_exit);
    };
    context_.healthcheck_fail = [this](bool fail) { server_.fail_healthcheck(fail); };
    context_.reopen_logs = [this] { server_.reopen_logs(); };
    context_.quit = [this] { server_.quit(); };
  }

  admin::ServerFacts facts() const {
    admin::ServerFacts facts;
    facts.version = MILLRACE_VERSION;
    facts.uptime_current_epoch = facts.uptime_all_epochs = server_.uptime();
    for (const auto& [name, value] : flags_.as_given) {
      std::visit([&](const auto& v) { facts.command_line_options.emplace_back(name, v); }, value);
    }
    const config::LocalNode& node = server_.snapshot().node;
    facts.node.id = node.id;
    facts.node.cluster = node.cluster;
    facts.node.region = node.region;
    facts.node.zone = node.zone;
    facts.node.sub_zone = node.sub_zone;
    return facts;
  }

  const Flags& flags_;
  io::Loop& loop_;
  stats::Store& store_;
  server::Server server_;
  admin::AdminContext context_;
  std::unique_ptr<admin::AdminServer> admin_;
};

int serve(const Flags& flags) {
  raise_descriptor_limit();
  stats::Store store(static_cast<uint16_t>(flags.concurrency));
  stream::AccessLogFiles files;
  config::BuildContext context;
  context.store = &store;
  context.access_log_files = flags.mode == Mode::kValidate ? nullptr : &files;
  context.service_node = flags.service_node;
  context.service_cluster = flags.service_cluster;
  context.service_zone = flags.service_zone;
  config::LoadedSnapshot loaded =
      config::load_snapshot({flags.config_path, flags.config_yaml, flags.allow_unknown_static_fields}, context);
  if (flags.mode == Mode::kValidate || loaded.snapshot == nullptr) return print_validation(loaded);
  if (!loaded.messages.empty()) MILLRACE_LOG(kWarn, "config", "{}", loaded.messages);

  io::UringOptions ring;
  ring.entries = 256;
  ring.ring_buffers = 64;
  ring.buffer_bytes_max = 32 << 20;
  base::Result<std::unique_ptr<io::Backend>> backend = io::make_uring_backend(ring);
  if (!backend.ok()) {
    std::cerr << "millrace: " << backend.error().to_string() << "\n";
    return 1;
  }
  io::Loop loop(std::move(*backend));
  Daemon daemon(flags, loop, store, files, std::move(loaded.snapshot));
  if (base::Result<void> started = daemon.start(); !started.ok()) {
    std::cerr << "millrace: " << started.error().to_string() << "\n";
    daemon.stop();
    return 1;
  }
  if (flags.mode == Mode::kServe) daemon.run();
  daemon.stop();
  MILLRACE_LOG(kInfo, "main", "exiting");
  return 0;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "fastpath") return millrace::fastpath_command(argc - 1, argv + 1);
  const millrace::ParsedFlags parsed = millrace::parse_flags(argc, argv);
  if (parsed.done) return parsed.code;
  if (parsed.flags.print_support) {
    std::cout << millrace::config::support_table_markdown();
    return 0;
  }
  if (parsed.flags.config_path.empty() && parsed.flags.config_yaml.empty()) {
    std::cerr << "millrace: no configuration: give -c FILE or --config-yaml TEXT\n";
    return 1;
  }
  if (!millrace::set_up_logging(parsed.flags)) return 1;
  millrace::server::Signals::block();
  return millrace::serve(parsed.flags);
}
