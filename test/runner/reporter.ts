/**
 * Reporter for `node --test` that says what happened as one JSON object a line, for the runner to count and print.
 * Runs in the test runner's process. A test with subtests is not counted: its leaves are.
 */

/** One line of the report. `name` is the path of titles, outermost first. `begun` and `ended` tell what is running. */
export interface ReportLine {
  readonly kind: 'passed' | 'failed' | 'skipped' | 'output' | 'begun' | 'ended';
  readonly file: string;
  readonly name: string;
  /** Why a test was skipped or how it failed; for output, the text. */
  readonly text: string;
  readonly ms: number;
}

/** The parts of node:test's events that are looked at. */
interface TestEvent {
  readonly type: string;
  readonly data: {
    readonly name?: string;
    readonly file?: string;
    readonly nesting?: number;
    readonly skip?: string | boolean;
    readonly todo?: string | boolean;
    readonly message?: string;
    readonly details?: {
      readonly type?: string;
      readonly duration_ms?: number;
      readonly error?: Error & { readonly failureType?: string; readonly cause?: unknown };
    };
  };
}

function failureText(error: (Error & { readonly cause?: unknown }) | undefined): string {
  if (error === undefined) return 'failed without an error';
  const cause = error.cause instanceof Error ? error.cause : error;
  return cause.stack ?? cause.message;
}

export default async function* report(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  /** Nesting of the last result of each file: a result above it closes a test that had subtests. */
  const depths = new Map<string, number>();
  /** Titles of the tests begun, by file and nesting. */
  const titles = new Map<string, string[]>();
  /** The same in the order of execution, which is not that of the results. */
  const running = new Map<string, string[]>();
  for await (const { type, data } of events) {
    const file = data.file ?? '';
    const nesting = data.nesting ?? 0;
    const line = (kind: ReportLine['kind'], text: string, order = titles): string => {
      const path = [...(order.get(file) ?? []).slice(0, nesting), data.name ?? ''].join(' > ');
      return `${JSON.stringify({ kind, file, name: path, text, ms: data.details?.duration_ms ?? 0 } satisfies ReportLine)}\n`;
    };
    if (type === 'test:start' || type === 'test:dequeue') {
      const order = type === 'test:start' ? titles : running;
      const path = order.get(file) ?? [];
      path[nesting] = data.name ?? '';
      order.set(file, path);
      if (order === running) yield line('begun', '', running);
      continue;
    }
    if (type === 'test:complete') {
      yield line('ended', '', running);
      continue;
    }
    if (type === 'test:stdout' || type === 'test:stderr') {
      yield line('output', data.message ?? '');
      continue;
    }
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    const parent = (depths.get(file) ?? nesting) > nesting;
    depths.set(file, nesting);
    const failedByItself = type === 'test:fail' && data.details?.error?.failureType !== 'subtestsFailed';
    if (failedByItself) yield line('failed', failureText(data.details?.error));
    else if (type === 'test:fail') continue;
    else if (data.todo !== undefined && data.todo !== false)
      yield line('failed', 'a test that is only planned is not a test');
    else if (data.skip !== undefined && data.skip !== false) {
      yield data.skip === true || data.skip === ''
        ? line('failed', 'skipped without a reason')
        : line('skipped', String(data.skip));
    } else if (
      nesting === 0 &&
      data.name !== undefined &&
      file.endsWith(data.name) &&
      data.name.endsWith('.js')
    ) {
      yield line('failed', 'the file holds no test');
    } else if (!parent && data.details?.type !== 'suite') yield line('passed', '');
  }
}
