// Listening sockets and the acceptor. Accepted sockets leave here as bare descriptor numbers, non-blocking and
// close-on-exec; whoever takes the number owns it (a `net.Socket({fd})` in any thread).
//
// Out of descriptors: the listening socket would stay readable for ever and spin the loop. One descriptor is
// kept in reserve: it is given up, the waiting connection is accepted and closed at once, so that the client
// learns it, and the reserve is taken again. When even that fails the acceptor pauses and says so.
#include <errno.h>
#include <fcntl.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "watcher.h"

namespace millrace {
namespace {

constexpr int kAcceptsPerTurn = 64;     // then the loop has a turn; what waits is readable again
constexpr int kNameErrorBase = -10000;  // below every errno

std::string textOf(napi_env env, napi_value value) {
  size_t length = 0;
  must(napi_get_value_string_utf8(env, value, nullptr, 0, &length), "not a string");
  std::string text(length, '\0');
  must(napi_get_value_string_utf8(env, value, text.data(), length + 1, &length), "not a string");
  return text;
}

int listenOn(const addrinfo& address, int backlog) {
  const int fd = socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  const int on = 1;
  const int off = 0;
  // An IPv6 wildcard serves IPv4 clients too, whatever the system's default is.
  const bool ready = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
                     (address.ai_family != AF_INET6 ||
                      setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == 0) &&
                     bind(fd, address.ai_addr, address.ai_addrlen) == 0 && listen(fd, backlog) == 0;
  if (ready) return fd;
  const int error = errno;
  close(fd);
  return -error;
}

// (host, port, backlog) → fd, -errno, or kNameErrorBase and below for a name that does not resolve.
napi_value listenTcp(napi_env env, napi_callback_info info) {
  const Call<3> call(env, info);
  const std::string host = textOf(env, call[0]);
  const std::string port = std::to_string(integerOf(env, call[1]));
  const int backlog = static_cast<int>(integerOf(env, call[2]));
  addrinfo hints;
  memset(&hints, 0, sizeof(hints));
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* addresses = nullptr;
  const int failure = getaddrinfo(host.c_str(), port.c_str(), &hints, &addresses);
  if (failure == EAI_SYSTEM) return number(env, -errno);
  if (failure != 0) return number(env, kNameErrorBase - abs(failure));
  int result = -EADDRNOTAVAIL;
  for (const addrinfo* address = addresses; address != nullptr && result < 0; address = address->ai_next) {
    result = listenOn(*address, backlog);
    // Only an address this machine cannot serve lets the next one of the name be tried.
    if (result != -EADDRNOTAVAIL && result != -EAFNOSUPPORT) break;
  }
  freeaddrinfo(addresses);
  return number(env, result);
}

napi_value localPort(napi_env env, napi_callback_info info) {
  const Call<1> call(env, info);
  sockaddr_storage address;
  socklen_t length = sizeof(address);
  const int fd = static_cast<int>(integerOf(env, call[0]));
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) < 0) return number(env, -errno);
  // Both families keep the port in the same place.
  return number(env, ntohs(reinterpret_cast<sockaddr_in*>(&address)->sin_port));
}

bool isShortage(int error) { return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM; }

int takeReserve() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

// Text of the remote address; an IPv4 client of an IPv6 socket is shown as the IPv4 address it has.
int describe(const sockaddr_storage& address, char* text, size_t size) {
  if (address.ss_family == AF_INET) {
    const auto& ipv4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &ipv4.sin_addr, text, static_cast<socklen_t>(size));
    return ntohs(ipv4.sin_port);
  }
  const auto& ipv6 = reinterpret_cast<const sockaddr_in6&>(address);
  if (IN6_IS_ADDR_V4MAPPED(&ipv6.sin6_addr)) {
    inet_ntop(AF_INET, ipv6.sin6_addr.s6_addr + 12, text, static_cast<socklen_t>(size));
  } else {
    inet_ntop(AF_INET6, &ipv6.sin6_addr, text, static_cast<socklen_t>(size));
  }
  return ntohs(ipv6.sin6_port);
}

// Tells JavaScript (fd ≥ 0, address, port) of a connection, or (-errno, '', dropped) of a shortage.
bool report(Watcher* watcher, int fd, const char* text, double last) {
  napi_env env = watcher->env;
  napi_handle_scope scope;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return false;
  napi_value arguments[3] = {number(env, fd), nullptr, number(env, last)};
  must(napi_create_string_latin1(env, text, NAPI_AUTO_LENGTH, &arguments[1]), "cannot create a string");
  const bool called = callBack(watcher, 3, arguments);
  napi_close_handle_scope(env, scope);
  return called;
}

// Turns away what waits, one after the other, through the reserved descriptor. Returns how many were dropped.
int dropWaiting(Watcher* watcher) {
  int dropped = 0;
  while (dropped < kAcceptsPerTurn && watcher->reserveFd >= 0) {
    close(watcher->reserveFd);
    watcher->reserveFd = -1;
    const int fd = accept4(watcher->fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) close(fd);
    watcher->reserveFd = takeReserve();
    if (fd < 0) break;
    dropped++;
  }
  return dropped;
}

void onConnectable(Watcher* watcher) {
  for (int i = 0; i < kAcceptsPerTurn; i++) {
    sockaddr_storage address;
    socklen_t length = sizeof(address);
    const int fd = accept4(watcher->fd, reinterpret_cast<sockaddr*>(&address), &length, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      char text[INET6_ADDRSTRLEN] = "";
      const int port = describe(address, text, sizeof(text));
      if (!report(watcher, fd, text, port)) {
        close(fd);  // nobody heard of it
        return;
      }
      if (watcher->closing || watcher->paused) return;
      continue;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) return;
    if (isShortage(errno)) {
      const int error = errno;
      const int dropped = dropWaiting(watcher);
      // Nothing could be turned away: without a pause the loop would spin on a socket that stays readable.
      if (dropped == 0) pauseWatcher(watcher);
      report(watcher, -error, "", dropped);
      return;
    }
    // Anything else concerns the one connection that was to be accepted (it went away, or its network did).
  }
}

void closeListener(Watcher* watcher) {
  close(watcher->fd);
  if (watcher->reserveFd >= 0) close(watcher->reserveFd);
}

// (listening fd, callback) → watcher number, or -errno. Takes ownership of the descriptor.
napi_value watchListener(napi_env env, napi_callback_info info) {
  const Call<2> call(env, info);
  const int fd = static_cast<int>(integerOf(env, call[0]));
  int error = 0;
  Watcher* watcher = openWatcher(env, call.environment, fd, call[1], onConnectable, error);
  if (watcher == nullptr) return number(env, error);
  watcher->onClose = closeListener;
  watcher->reserveFd = takeReserve();
  return number(env, watcher->id);
}

// (watcher number, paused) → 1 when the acceptor was open.
napi_value setPaused(napi_env env, napi_callback_info info) {
  const Call<2> call(env, info);
  Watcher* watcher = findWatcher(call.environment, static_cast<uint32_t>(integerOf(env, call[0])));
  if (watcher == nullptr) return number(env, 0);
  if (booleanOf(env, call[1])) {
    pauseWatcher(watcher);
  } else {
    if (watcher->reserveFd < 0) watcher->reserveFd = takeReserve();
    resumeWatcher(watcher);
  }
  return number(env, 1);
}

constexpr Function kFunctions[] = {
    {"listenTcp", listenTcp},
    {"localPort", localPort},
    {"watchListener", watchListener},
    {"setPaused", setPaused},
};

}  // namespace

void defineSockets(napi_env env, napi_value exports, Environment* environment) {
  define(env, exports, environment, kFunctions, sizeof(kFunctions) / sizeof(kFunctions[0]));
}

}  // namespace millrace
