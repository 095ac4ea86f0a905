/**
 * Keeps the process alive while a broker ends: its timers do not, and once its sockets are closed nothing else might.
 * Returns what lets go again.
 */
const longMs = 2 ** 30;

export function keepAlive(): () => void {
  const timer = setInterval(() => {}, longMs);
  return () => clearInterval(timer);
}
