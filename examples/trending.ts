// trending.ts: how often each tag was used in the last hour, every ten minutes
//   {"tag":"cats","at":"2024-05-01T10:00:00Z","user":"ann"}
import { Count, Distinct, Text, Time, Window, Windows, out } from "hallelujah";

@record class Post { tag: Text; @time(120_000) at: Time; user: Text }
@record class Trend { tag: Text; until: Time; posts: u64; users: u64 }
@state  class Posts { posts: Count; users: Distinct }

const recent = new Windows<Text, Posts>("recent", 60 * 60_000, 10 * 60_000);

export function each(post: Post): void {
  const posts = recent.at(post.tag, post.at);
  posts.posts.add();
  posts.users.add(post.user);
}

export function close(window: Window, tag: Text, posts: Posts): void {
  if (posts.posts.value < 2) return;
  const trend = new Trend();
  trend.tag = tag;
  trend.until = window.end;
  trend.posts = posts.posts.value;
  trend.users = posts.users.value;
  out.emit(trend);
}
