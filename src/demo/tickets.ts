/** Order `n` may be placed once `n` tickets have been granted: it is how the demo throttles its producers. */
export class Tickets {
  #granted = 0
  #waiting: { readonly number: number; readonly go: () => void }[] = []

  grant(upTo: number): void {
    this.#granted = Math.max(this.#granted, upTo)
    const ready = this.#waiting.filter(({ number }) => number <= this.#granted)
    this.#waiting = this.#waiting.filter(({ number }) => number > this.#granted)
    for (const { go } of ready) go()
  }

  async reach(number: number): Promise<void> {
    if (number > this.#granted) await new Promise<void>((go) => this.#waiting.push({ number, go }))
  }
}
