// funnel.ts: who comes from a view over the cart to an order, in this order and within a day, and how long it took
//   {"user":"ann","at":"2024-05-01T10:00:00Z","action":"view"}
import { Count, Table, Text, Time, out } from "hallelujah";

@record class Event { user: Text; at: Time; action: Text }
@record class Order { user: Text; at: Time; minutes: i64 }
@state  class Shopper { step: u8; since: Time; views: Count; carts: Count; orders: Count }

const shoppers = new Table<Text, Shopper>("shoppers");
const DAY: i64 = 86_400_000;

export function key(event: Event): Text {
  return event.user;
}

export function fold(event: Event, shopper: Shopper): void {
  const waited = event.at.ms - shopper.since.ms;
  if (shopper.step && waited > DAY) shopper.step = 0;
  if (event.action.is("view") && shopper.step == 0) {
    shopper.step = 1;
    shopper.since = event.at;
    shopper.views.add();
  } else if (event.action.is("cart") && shopper.step == 1) {
    shopper.step = 2;
    shopper.carts.add();
  } else if (event.action.is("order") && shopper.step == 2) {
    shopper.step = 0;
    shopper.orders.add();
    const order = new Order();
    order.user = event.user;
    order.at = event.at;
    order.minutes = waited / 60_000;
    out.emit(order);
  }
}
