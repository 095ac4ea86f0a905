/**
 * TCP ports on loopback that stay a program's own while it is down. The kernel lends ports of its ephemeral range to every
 * connection that goes out, so a server that is started again on such a port may find a client there. These lie below it.
 */
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { patienceMs } from './patience.ts';

const lowest = 12_000;
const triesMax = 200;

/** The first port that the kernel may lend; Linux's default where it does not say. */
function ephemeralFloor(): number {
  try {
    return Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'latin1').split(/\s+/)[0]);
  } catch {
    return 32_768;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
}

const given = new Set<number>();

/** `count` ports nothing listens on, none of which this process gave before. Throws where none can be found. */
export async function ownPorts(count: number): Promise<number[]> {
  const span = ephemeralFloor() - lowest;
  if (span < 2_000)
    throw new Error(`the kernel lends ports from ${lowest + span} on: no room for servers below`);
  const ports: number[] = [];
  for (let tries = 0; ports.length < count; tries++) {
    if (tries === triesMax + count) throw new Error(`no free port between ${lowest} and ${lowest + span}`);
    const port = lowest + Math.floor(Math.random() * span);
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    ports.push(port);
  }
  return ports;
}

export async function ownPort(): Promise<number> {
  return (await ownPorts(1))[0]!;
}

/** Whether something takes connections there now. */
export function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const done = (is: boolean) => () => {
      socket.destroy();
      resolve(is);
    };
    socket.once('connect', done(true)).once('error', done(false));
  });
}

/** Waits until something takes connections there; false when `runs` ends it first, or patience does. */
export async function answersWhile(port: number, runs: () => boolean): Promise<boolean> {
  const deadline = performance.now() + patienceMs;
  while (performance.now() < deadline && runs()) {
    if (await answers(port)) return true;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  return false;
}
