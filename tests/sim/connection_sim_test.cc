// Pairs of net::Connection over the simulated network, both ends on one loop, plain or with a transport: what is
// written arrives, once and in order, through half-closes, pauses and every way to close; in the end nothing is left.
#include <map>

#include "net/acceptor.h"
#include "net/connection.h"
#include "sim/bytes.h"
#include "sim/seeds.h"
#include "support/toy_transport.h"

namespace millrace::sim {
namespace {

using net::CloseMode;
using net::Connection;

struct World;

// One end of a pair: writes its stream and checks the other's, in a manner drawn when it is made.
class Side final : public net::ConnectionHandler {
 public:
  enum class Manner : uint8_t {
    kPolite,      // ends its stream, reads the other's to the end, then closes
    kFlushDelay,  // closes as soon as its stream is written; what the other still says is lost
    kAbort,       // closes with kNow or kReset somewhere on the way
  };

  Side(World& world, uint64_t id);
  void own(std::unique_ptr<Connection> connection);
  void begin() { step_.arm(base::milliseconds(0)); }
  // The delay is longer than any reader takes for its next bytes, and shorter than for all of them.
  void close(CloseMode mode, base::milliseconds delay = base::milliseconds(300));
  bool over() const { return connection_ == nullptr; }

  void on_data(Connection&, base::Buffer& data, bool end_stream) override;
  void on_above_high_watermark(Connection&) override { above_ = true; }
  void on_below_low_watermark(Connection&) override {
    above_ = false;
    step_.arm(base::milliseconds(0));
  }
  void on_error(Connection&, const base::Error& error) override;

  const Outgoing& out() const { return out_; }
  const Incoming& in() const { return in_; }
  Manner manner() const { return manner_; }
  bool saw_end() const { return saw_end_; }
  bool failed() const { return failed_; }
  bool promised() const { return manner_ != Manner::kAbort && out_.done() && !failed_; }

 private:
  void step();
  void on_more();
  void maybe_close();

  World& world_;
  std::unique_ptr<Connection> connection_;
  Outgoing out_;
  Incoming in_;
  Manner manner_ = Manner::kPolite;
  uint64_t abort_at_ = 0;
  bool end_with_last_ = false, above_ = false, paused_ = false, ended_ = false, saw_end_ = false, failed_ = false;
  bool connecting_ = false;
  io::TimerOf<&Side::step> step_;
  io::TimerOf<&Side::on_more> more_;
  friend struct World;
};

struct World {
  World(uint64_t seed, bool calm_in, bool secure_in) : prng(seed), calm(calm_in), secure(secure_in) {
    client_transport.options.record_bytes_max = server_transport.options.record_bytes_max = 1 + prng.below(16'000);
    auto backend = std::make_unique<Network>(prng.next(), draw_faults(prng, calm));
    network = backend.get();
    loop = std::make_unique<io::Loop>(std::move(backend));
    loop->seed(prng.next());
    address = net::Address::parse_ip("127.0.0.1", 80).value();
    acceptor = std::make_unique<net::Acceptor>(*loop, network->listen(address), [this](int fd) {
      Side& side = make_side();
      side.own(Connection::accepted(*loop, fd));
      if (secure) side.connection_->secure(server_transport.create({}), base::milliseconds(500));
      side.connection_->start();
      side.begin();
    });
    acceptor->start();
  }
  Side& make_side() {
    sides.push_back(std::make_unique<Side>(*this, sides.size() + 1));
    return *sides.back();
  }
  void dial() {
    Side& side = make_side();
    net::ConnectOptions options;
    options.timeout = base::milliseconds(1 + prng.below(200));
    if (secure) options.transport = &client_transport;
    side.connecting_ = true;
    side.own(Connection::connect(*loop, address, options, side));
    if (prng.below(2) == 0) side.begin();  // writes before it is connected
    else side.step_.arm(base::milliseconds(prng.below(50)));
  }
  bool all_over() const {
    for (const auto& side : sides) {
      if (!side->over()) return false;
    }
    return true;
  }

  base::Prng prng;
  bool calm, secure;
  test::ToyFactory client_transport{true}, server_transport{false};
  Network* network = nullptr;
  std::unique_ptr<io::Loop> loop;
  net::Address address;
  std::unique_ptr<net::Acceptor> acceptor;
  std::vector<std::unique_ptr<Side>> sides;
};

Side::Side(World& world, uint64_t id)
    : world_(world), out_(id, world.prng.below(world.prng.below(3) == 0 ? 200'000 : 2'000)),
      step_(world.loop->timers(), *this), more_(world.loop->timers(), *this) {
  if (world.prng.below(4) == 0) manner_ = world.prng.below(2) == 0 ? Manner::kFlushDelay : Manner::kAbort;
  abort_at_ = world.prng.below(out_.total() + 1);
  end_with_last_ = world.prng.below(2) == 0;
}

void Side::own(std::unique_ptr<Connection> connection) {
  connection_ = std::move(connection);
  connection_->set_handler(*this);
  connection_->set_watermark(1 + world_.prng.below(64 * 1024));
}

void Side::step() {
  if (connection_ == nullptr || ended_) return;
  base::Prng& prng = world_.prng;
  if (manner_ == Manner::kAbort && out_.sent() >= abort_at_) {
    return close(prng.below(2) == 0 ? CloseMode::kNow : CloseMode::kReset);
  }
  if (!out_.done()) {
    if (above_) return;  // on_below_low_watermark() goes on
    base::Buffer data;
    data.append(out_.next(1 + prng.below(prng.below(2) == 0 ? 40'000 : 300)));
    ended_ = out_.done() && end_with_last_ && manner_ == Manner::kPolite;
    connection_->write(data, ended_);
    if (!ended_) step_.arm(base::milliseconds(prng.below(4)));
    if (ended_) maybe_close();
    return;
  }
  if (manner_ != Manner::kPolite) return close(CloseMode::kFlushDelay);
  ended_ = true;
  base::Buffer nothing;
  connection_->write(nothing, true);
  maybe_close();
}

void Side::on_data(Connection& connection, base::Buffer& data, bool end_stream) {
  ASSERT_FALSE(connection.reading_paused());
  base::Prng& prng = world_.prng;
  const size_t n = prng.below(3) == 0 ? prng.below(data.size() + 1) : data.size();
  EXPECT_TRUE(in_.take(data.linearize(n))) << "side " << out_.id() << " was given wrong bytes";
  data.drain(n);
  if (!data.empty()) more_.arm(base::milliseconds(prng.below(5)));
  if (data.empty() && end_stream) {
    EXPECT_FALSE(saw_end_) << "the end came twice";
    saw_end_ = true;
    return maybe_close();
  }
  if (!paused_ && prng.below(8) == 0) {
    paused_ = true;
    connection.pause_reading();
    more_.arm(base::milliseconds(prng.below(30)));
  }
}

void Side::on_more() {
  if (connection_ == nullptr) return;
  if (paused_) {
    paused_ = false;
    connection_->resume_reading();
  }
  if (!connection_->input().empty()) connection_->redeliver();
}

void Side::maybe_close() {
  if (ended_ && saw_end_) close(CloseMode::kFlush, base::milliseconds(0));
}

void Side::on_error(Connection&, const base::Error&) {
  failed_ = true;
  close(CloseMode::kNow);
}

void Side::close(CloseMode mode, base::milliseconds delay) {
  step_.disarm();
  more_.disarm();
  if (connection_ != nullptr) Connection::close(std::move(connection_), mode, delay);
}

// What a reader may have seen of its writer.
void check_direction(const World& world, const Side& writer, const Side& reader) {
  EXPECT_LE(reader.in().received(), writer.out().sent());
  if (reader.saw_end() && writer.manner() != Side::Manner::kAbort && world.network->breaks() == 0) {
    EXPECT_TRUE(reader.in().complete()) << "side " << reader.out().id() << " saw an end after "
                                        << reader.in().received() << " of " << writer.out().total();
  }
  if (!world.calm) return;
  // Nothing breaks: a promise is kept to whoever reads to the end.
  if (writer.promised() && reader.manner() == Side::Manner::kPolite && writer.manner() == Side::Manner::kPolite) {
    EXPECT_TRUE(reader.saw_end() && reader.in().complete()) << "side " << reader.out().id() << " has "
                                                            << reader.in().received() << " of " << writer.out().total();
  }
  if (writer.promised() && writer.manner() == Side::Manner::kFlushDelay && reader.manner() == Side::Manner::kPolite) {
    EXPECT_TRUE(reader.saw_end() && reader.in().complete())
        << "a delayed close lost bytes to side " << reader.out().id();
  }
}

void run(uint64_t seed, bool secure) {
  const size_t alive_before = Connection::alive();
  {
    base::Prng prng(seed);
    World world(prng.next(), prng.below(2) == 0, secure);
    const uint64_t pairs = 1 + prng.below(8);
    for (uint64_t i = 0; i < pairs; ++i) world.dial();
    const base::nanoseconds limit = base::seconds(120);
    while ((!world.all_over() || !world.acceptor || Connection::alive() > alive_before) &&
           world.network->elapsed() < limit && !testing::Test::HasFailure()) {
      world.loop->turn(base::milliseconds(100));
    }
    EXPECT_TRUE(world.all_over()) << "a connection hangs";
    std::map<uint64_t, const Side*> by_id;
    for (const auto& side : world.sides) by_id[side->out().id()] = side.get();
    for (const auto& side : world.sides) {
      if (side->in().known()) {
        ASSERT_TRUE(by_id.contains(side->in().id()));
        check_direction(world, *by_id[side->in().id()], *side);
      }
    }
    for (const auto& side : world.sides) side->close(CloseMode::kNow);
    net::Acceptor::stop(std::move(world.acceptor));
    for (int i = 0; i < 1'000 && (Connection::alive() > alive_before || world.network->open_sockets() > 0); ++i) {
      world.loop->turn(base::milliseconds(10));
    }
    EXPECT_EQ(Connection::alive(), alive_before);
    EXPECT_EQ(world.network->open_sockets(), 0u);
    EXPECT_EQ(world.network->held_bytes(), 0u);
  }
}

TEST(ConnectionSim, BytesArriveOnceAndInOrderAndNothingIsLeft) {
  for_each_seed(300, [](uint64_t seed) { run(seed, false); });
}

TEST(ConnectionSim, SoTheyDoThroughATransport) {
  for_each_seed(300, [](uint64_t seed) { run(seed, true); });
}

// Takes what there is, byte by byte as the window allows, and goes at the end.
struct SlowReader final : Peer {
  explicit SlowReader(Network& n) : network(n) {}
  void on_readable() override { taken += network.read(socket, SIZE_MAX).size(); }
  void on_end() override {
    ended = true;
    network.hang_up(socket, false);
  }
  void on_reset() override { ended = true; }

  Network& network;
  Network::Socket socket = 0;
  size_t taken = 0;
  bool ended = false;
};

TEST(ConnectionSim, ADelayedCloseGoesOnAsLongAsThePeerTakesBytes) {
  constexpr size_t kBytes = 100'000;
  Faults faults;
  faults.window_min = faults.window_max = 64;
  faults.latency_max = base::milliseconds(20);
  auto backend = std::make_unique<Network>(1, faults);
  Network& network = *backend;
  io::Loop loop(std::move(backend));
  const net::Address address = net::Address::parse_ip("127.0.0.1", 80).value();
  auto acceptor = std::make_unique<net::Acceptor>(loop, network.listen(address), [&](int fd) {
    std::unique_ptr<Connection> connection = Connection::accepted(loop, fd);
    connection->start();
    connection->write(std::string(kBytes, 'x'));
    Connection::close(std::move(connection), CloseMode::kFlushDelay, base::milliseconds(200));
  });
  acceptor->start();
  SlowReader reader(network);
  reader.socket = network.dial(address, reader);
  while (!reader.ended && network.elapsed() < base::seconds(120)) loop.turn(base::milliseconds(100));
  EXPECT_EQ(reader.taken, kBytes);
  EXPECT_GT(network.elapsed(), base::seconds(1)) << "too fast to show anything";
  net::Acceptor::stop(std::move(acceptor));
  for (int i = 0; i < 100; ++i) loop.turn(base::milliseconds(10));
}

}  // namespace
}  // namespace millrace::sim
