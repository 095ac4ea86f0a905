/** A place where a notice may appear that this machine is to be taken away. */
export interface NoticeSource {
  /** For people. */
  readonly name: string;
  /** @returns what the notice says, null = there is none. Rejects where nothing can be said; bounded in time. */
  look(): Promise<string | null>;
}
