// Intrusive doubly linked list: a node lives in its owner, linking allocates nothing, unlinking needs no list. A node
// is in at most one list per hook and unlinks itself when destroyed. One thread.
#pragma once
#include <cstddef>

#include "base/assert.h"

namespace millrace::base {

template <class Tag = void>
class ListHook {
 public:
  ListHook() = default;
  ListHook(const ListHook&) = delete;
  ListHook& operator=(const ListHook&) = delete;
  ~ListHook() { unlink(); }

  bool linked() const { return next_ != nullptr; }
  void unlink() {
    if (next_ == nullptr) return;
    prev_->next_ = next_;
    next_->prev_ = prev_;
    next_ = prev_ = nullptr;
  }

 private:
  template <class T, class U>
  friend class List;
  ListHook* next_ = nullptr;
  ListHook* prev_ = nullptr;
};

// T derives from ListHook<Tag>.
template <class T, class Tag = void>
class List {
 public:
  using Hook = ListHook<Tag>;
  List() { head_.next_ = head_.prev_ = &head_; }
  List(const List&) = delete;
  List& operator=(const List&) = delete;
  ~List() {
    clear();
    head_.next_ = head_.prev_ = nullptr;
  }

  bool empty() const { return head_.next_ == &head_; }
  T* front() { return empty() ? nullptr : static_cast<T*>(head_.next_); }
  T* back() { return empty() ? nullptr : static_cast<T*>(head_.prev_); }
  void push_back(T& node) { insert(node, *head_.prev_, head_); }
  void push_front(T& node) { insert(node, head_, *head_.next_); }
  T* pop_front() {
    T* node = front();
    if (node != nullptr) static_cast<Hook*>(node)->unlink();
    return node;
  }
  void clear() {
    while (pop_front() != nullptr) {
    }
  }
  size_t count() const {
    size_t n = 0;
    for (const Hook* h = head_.next_; h != &head_; h = h->next_) ++n;
    return n;
  }
  // Calls f(T&) on every node; f may unlink the node it is given, and no other.
  template <class F>
  void for_each(F&& f) {
    for (Hook* h = head_.next_; h != &head_;) {
      Hook* next = h->next_;
      f(*static_cast<T*>(h));
      h = next;
    }
  }
  // Moves every node of other to the end of this list.
  void splice_back(List& other) {
    if (other.empty()) return;
    Hook* first = other.head_.next_;
    Hook* last = other.head_.prev_;
    first->prev_ = head_.prev_;
    head_.prev_->next_ = first;
    last->next_ = &head_;
    head_.prev_ = last;
    other.head_.next_ = other.head_.prev_ = &other.head_;
  }

 private:
  void insert(T& node, Hook& before, Hook& after) {
    Hook& hook = node;
    MILLRACE_DCHECK(!hook.linked());
    hook.prev_ = &before;
    hook.next_ = &after;
    before.next_ = &hook;
    after.prev_ = &hook;
  }
  Hook head_;
};

}  // namespace millrace::base
