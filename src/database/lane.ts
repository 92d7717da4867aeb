/** One statement after the other on a connection, in the order they came. */
export class Lane {
  #underWay = 0
  #last: Promise<unknown> = Promise.resolve()

  /** Nothing is under way, and nothing waits. */
  get idle(): boolean {
    return this.#underWay === 0
  }

  run<Answer>(send: () => Promise<Answer>): Promise<Answer> {
    const turn = this.#underWay === 0 ? send() : this.#last.then(send)
    this.#underWay += 1
    this.#last = turn.then(this.#done, this.#done)
    return turn
  }

  readonly #done = () => {
    this.#underWay -= 1
  }
}
