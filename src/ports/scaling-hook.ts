/** What runs brokers (a platform, a script), as a cluster asks it for more or fewer of them. */
export interface ScalingRequest {
  /** Brokers that there are to be. */
  readonly desired: number;
  /** Brokers that take streams now. */
  readonly current: number;
  /** Node ids of those that may go: drained, they own nothing. Empty where more are asked for. */
  readonly remove: readonly number[];
  readonly reason: string;
}

export interface ScalingHook {
  /**
   * Asks once; the same may be asked again, and is to be done once. Resolves when the platform has taken notice, not when it is
   * done.
   * @returns what it says about it, for people: one line, '' = nothing. Rejects with SCALING_HOOK (unavailable), also when `stopped`
   * ends the call.
   */
  ask(request: ScalingRequest, stopped?: AbortSignal): Promise<string>;
}
