/** Whether the command line asks for a bill: apart from cost.ts, which is loaded only then. Pure. */

/** Words behind "cost", also where npm start has put its own in front; null = another command. */
export function costArguments(args: readonly string[]): readonly string[] | null {
  const at = args.indexOf('cost');
  if (at < 0) return null;
  const before = args.slice(0, at);
  const npmStart = before.length === 3 && before[0] === 'start' && before[1] === '--profile';
  return at === 0 || npmStart ? args.slice(at + 1) : null;
}
