/**
 * The operator's commands to a cluster that runs: `cluster status|plan|moves|audit`, `drain`, `abandon`. They ask a broker over HTTP and, where
 * only the one that leads can answer, that one. What was found or done goes to standard output, in words or with --json; what kept it
 * from being done to standard error.
 */
import { parseArgs } from 'node:util';
import type {
  AuditReport,
  ClusterStatus,
  DrainReport,
  MovesReport,
  OperatorAnswer,
  PlanReport,
  Refusal,
  WaitingLog,
} from '../ports/cluster-reports.ts';
import { MillraceError } from '../ports/errors.ts';
import {
  abandonedText,
  auditText,
  drainText,
  movesText,
  planText,
  standingText,
  waitingText,
} from './cluster-text.ts';
import { type ExitCode, exitCodes } from './exit-codes.ts';
import type { ProcessPort } from './process-port.ts';

export type AskBroker = (address: string, method: 'GET' | 'POST', path: string) => Promise<OperatorAnswer>;

export const clusterHelp = [
  'Usage: millrace cluster status         who is there, who leads, what they have, what waits',
  '       millrace cluster plan           what would move for balance, and how many brokers there are to be, and why',
  '       millrace cluster moves          partitions on their way from one broker to another',
  '       millrace cluster audit          the newest decisions of the broker that leads, with reasons, a JSON object a line',
  '       millrace drain [NODE]           give all partitions of a broker to others; without NODE, of the one that is asked',
  '       millrace drain [NODE] --undo    have it take partitions again',
  '       millrace abandon                logs of lost brokers that nobody can read, and what giving them up may lose',
  '       millrace abandon LOG --yes      give one up: its partitions go on without what only it holds',
  '',
  '  --http HOST:PORT         a broker of the cluster (MILLRACE_HTTP_ADDRESS, else 127.0.0.1:9080)',
  '  --json                   one JSON object instead of words',
  '',
  'Exit codes: 0 done, 1 something waits or nobody leads (status), 64 wrong command, 69 no broker answers, 73 refused.',
  '',
].join('\n');

const defaultAddress = '127.0.0.1:9080';
const actions = ['status', 'plan', 'moves', 'audit'] as const;

/** Words from the command on, also where npm start has put its own in front; null = another command. */
export function clusterArguments(args: readonly string[]): readonly string[] | null {
  const words = args[0] === 'start' && args[1] === '--profile' ? args.slice(3) : args;
  return ['cluster', 'drain', 'abandon'].includes(words[0] ?? '') ? words : null;
}

interface Order {
  readonly address: string;
  readonly json: boolean;
  readonly words: readonly string[];
  readonly undo: boolean;
  readonly yes: boolean;
}

/** Never rejects. */
export async function runCluster(
  host: ProcessPort,
  args: readonly string[],
  ask: AskBroker,
): Promise<ExitCode> {
  let order: Order;
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        http: { type: 'string' },
        json: { type: 'boolean' },
        undo: { type: 'boolean' },
        yes: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    if (values.help) {
      host.out(clusterHelp);
      return exitCodes.clean;
    }
    order = {
      address: values.http ?? (host.environment.MILLRACE_HTTP_ADDRESS || defaultAddress),
      json: values.json ?? false,
      words: positionals,
      undo: values.undo ?? false,
      yes: values.yes ?? false,
    };
    checkOrder(order);
  } catch (error) {
    host.err(
      `millrace: ${error instanceof Error ? error.message : String(error)}\nTry: millrace cluster --help\n`,
    );
    return exitCodes.wrongSetting;
  }
  try {
    return await new Desk(host, order, ask).run();
  } catch (error) {
    host.err(`millrace: ${error instanceof Error ? error.message : String(error)}\n`);
    return error instanceof MillraceError && error.kind === 'unavailable'
      ? exitCodes.storeUnreachable
      : exitCodes.refused;
  }
}

function checkOrder({ words: [command, word, ...rest], undo, yes }: Order): void {
  if (command === 'cluster' && !actions.some((action) => action === word))
    throw new Error(`cluster ${actions.join(', ')}?`);
  if (command === 'drain' && word !== undefined && !/^\d{1,10}$/.test(word))
    throw new Error(`'${word}' is no node id`);
  if (rest.length > 0) throw new Error(`nothing can be made of "${rest[0]}"`);
  if (undo && command !== 'drain') throw new Error('option --undo is for drain');
  if (yes && command !== 'abandon') throw new Error('option --yes is for abandon');
  if (yes && word === undefined) throw new Error('abandon which log? millrace abandon names them');
}

class Desk {
  readonly #host: ProcessPort;
  readonly #order: Order;
  readonly #ask: AskBroker;

  constructor(host: ProcessPort, order: Order, ask: AskBroker) {
    this.#host = host;
    this.#order = order;
    this.#ask = ask;
  }

  async run(): Promise<ExitCode> {
    const [command, word] = this.#order.words;
    if (command === 'drain') return this.#drain(word);
    if (command === 'abandon') return this.#abandon(word ?? null);
    switch (word) {
      case 'plan':
        return this.#print(await this.#get<PlanReport>('/cluster/plan'), planText);
      case 'moves':
        return this.#print(await this.#get<MovesReport>('/cluster/moves'), movesText);
      case 'audit':
        return this.#print(await this.#get<AuditReport>('/cluster/audit'), auditText);
      default: {
        const status = await this.#get<ClusterStatus>('/cluster');
        this.#print(status, standingText);
        return status.leader < 0 || status.waiting.length > 0 ? exitCodes.problemsFound : exitCodes.clean;
      }
    }
  }

  async #drain(word: string | undefined): Promise<ExitCode> {
    const node = word ?? String((await this.#get<ClusterStatus>('/cluster')).node);
    const what = this.#order.undo ? 'undrain' : 'drain';
    return this.#print(await this.#post<DrainReport>(`/cluster/${what}?node=${node}`), drainText);
  }

  async #abandon(logId: string | null): Promise<ExitCode> {
    const waiting = await this.#get<readonly WaitingLog[]>('/cluster/waiting');
    if (logId === null) return this.#print(waiting, waitingText);
    const log = waiting.find((each) => each.logId === logId);
    if (log === undefined)
      throw new MillraceError(
        'invalid',
        'WAL_NOT_WAITING',
        `no partition waits for a write-ahead log ${logId}`,
      );
    if (this.#order.yes) {
      const path = `/cluster/abandon?log=${encodeURIComponent(logId)}`;
      return this.#print(await this.#post<WaitingLog>(path), abandonedText);
    }
    this.#print([log], waitingText);
    this.#host.err(
      `millrace: nothing was done. With --yes the log is given up, and what only it holds is lost for good.\n`,
    );
    return exitCodes.refused;
  }

  #print<Report>(report: Report, text: (report: Report) => string): ExitCode {
    this.#host.out(this.#order.json ? `${JSON.stringify(report, null, 2)}\n` : text(report));
    return exitCodes.clean;
  }

  #get<Report>(path: string): Promise<Report> {
    return this.#call<Report>('GET', path);
  }

  #post<Report>(path: string): Promise<Report> {
    return this.#call<Report>('POST', path);
  }

  /** A broker that does not lead says who does: that one is asked, once. */
  async #call<Report>(method: 'GET' | 'POST', path: string): Promise<Report> {
    const { address } = this.#order;
    const first = await this.#ask(address, method, path);
    if (first.status === 200) return first.body as Report;
    const refusal = first.body as Refusal;
    if (first.status !== 421) throw refused(address, first.status, refusal);
    if ((refusal.http ?? '') === '')
      throw new MillraceError(
        'invalid',
        'NOT_CONTROLLER',
        `${refusal.message}; it does not say where. Give its address with --http`,
      );
    const second = await this.#ask(refusal.http!, method, path);
    if (second.status !== 200) throw refused(refusal.http!, second.status, second.body as Refusal);
    return second.body as Report;
  }
}

function refused(address: string, status: number, { code, message }: Refusal): MillraceError {
  const kind = status >= 500 ? 'unavailable' : 'invalid';
  const what = status === 404 ? 'it is not one of a cluster, or of another version' : message;
  return new MillraceError(kind, code, `the broker at ${address} says: ${what}`);
}
