// The epochs file: who may use it, what replaces it, and what is mended after a death.
#include "catalog/epochs.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <thread>

#include "base/test_descriptors.h"
#include "catalog/catalog_testing.h"

namespace barcache {
namespace {

std::unique_ptr<Epochs> OpenEpochs(const std::string& path, EpochsMode mode = EpochsMode::kShared) {
  auto epochs = Epochs::Open(path, mode);
  EXPECT_TRUE(epochs.ok()) << epochs.status().ToString();
  return epochs.ok() ? std::move(epochs).value() : nullptr;
}

std::vector<size_t> BucketsOf(const std::string& key) { return {Epochs::BucketOf(key)}; }

void CommitOnce(Epochs* epochs, const std::string& key) {
  ASSERT_TRUE(epochs->Lock(1000).ok());
  epochs->MarkOdd(BucketsOf(key));
  EXPECT_FALSE(epochs->EpochOf(key).settled());
  epochs->MarkEven(BucketsOf(key));
  epochs->Unlock();
}

// Runs `body` in a forked child that is then gone without cleaning up.
template <typename Body>
void InKilledChild(Body body) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    body();
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(EpochsTest, ANoteThatCannotBeReadIsNotAMissingOne) {
  TestFolder folder;
  const std::string path = folder.file("e");
  EXPECT_EQ(Epochs::ReadNote(path).value().catalog_id, "");
  const std::string id(32, 'a');
  auto epochs = OpenEpochs(path);
  ASSERT_TRUE(epochs->Lock(1000).ok());
  epochs->WriteNote(id, false);
  epochs->Unlock();
  EXPECT_EQ(Epochs::ReadNote(path).value().catalog_id, id);
  {
    const TestDescriptors few(0);
    const Status unread = Epochs::ReadNote(path).status();
    EXPECT_EQ(unread.code(), ErrorCode::kIo);
    EXPECT_EQ(unread.system_errno(), EMFILE);
    EXPECT_NE(unread.message().find(path), std::string::npos) << unread.message();
    EXPECT_NE(unread.message().find("ulimit -n"), std::string::npos) << unread.message();
  }
  EXPECT_EQ(Epochs::ReadNote(path).value().catalog_id, id);
}

TEST(EpochsTest, TwoObjectsSeeOneAnother) {
  TestFolder folder;
  auto a = OpenEpochs(folder.file("e"));
  auto b = OpenEpochs(folder.file("e"));
  const Epoch before = b->EpochOf("k");
  EXPECT_TRUE(before.settled());
  EXPECT_EQ(a->EpochOf("k"), before);
  CommitOnce(a.get(), "k");
  EXPECT_EQ(b->EpochOf("k"), a->EpochOf("k"));
  EXPECT_EQ(b->EpochOf("k").bucket, before.bucket + 2);
}

TEST(EpochsTest, TheLockKeepsOthersOut) {
  TestFolder folder;
  auto a = OpenEpochs(folder.file("e"));
  auto b = OpenEpochs(folder.file("e"));
  ASSERT_TRUE(a->TryLock().value());
  EXPECT_FALSE(b->TryLock().value());
  EXPECT_EQ(b->Lock(5).code(), ErrorCode::kBusy);
  std::thread waiting([&] {
    EXPECT_TRUE(b->Lock(10'000).ok());
    b->Unlock();
  });
  a->Unlock();
  waiting.join();
}

TEST(EpochsTest, BucketsSpread) {
  std::vector<int> counts(Epochs::kBucketCount);
  for (int i = 0; i < 80'000; ++i) ++counts[Epochs::BucketOf("key" + std::to_string(i))];
  EXPECT_LT(*std::max_element(counts.begin(), counts.end()), 40);
}

TEST(EpochsTest, RefusesLinksAndOtherKinds) {
  TestFolder folder;
  std::ofstream(folder.file("target")) << "precious";
  std::filesystem::create_symlink(folder.file("target"), folder.file("link"));
  std::filesystem::create_symlink(folder.file("nowhere"), folder.file("dangling"));
  std::filesystem::create_directory(folder.file("directory"));
  ASSERT_EQ(mkfifo(folder.file("fifo").c_str(), 0600), 0);
  for (const char* name : {"link", "dangling", "directory", "fifo"}) {
    auto epochs = Epochs::Open(folder.file(name), EpochsMode::kShared);
    ASSERT_FALSE(epochs.ok()) << name;
    EXPECT_EQ(epochs.status().code(), ErrorCode::kIo) << epochs.status().ToString();
  }
  EXPECT_EQ(std::filesystem::file_size(folder.file("target")), 8u);
  EXPECT_FALSE(std::filesystem::exists(folder.file("nowhere")));
}

TEST(EpochsTest, ReplacesAFileThatIsNoGood) {
  TestFolder folder;
  for (const std::string& content : {std::string(), std::string("short"), std::string(69632, 'x'),
                                     std::string("BAREPOCH\x01\0\0\0\0\x20\0\0", 16)}) {
    std::ofstream(folder.file("e"), std::ios::binary) << content;
    auto epochs = OpenEpochs(folder.file("e"));
    CommitOnce(epochs.get(), "k");
    auto again = OpenEpochs(folder.file("e"));
    EXPECT_EQ(again->EpochOf("k"), epochs->EpochOf("k"));
    struct stat status{};
    ASSERT_EQ(stat(folder.file("e").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
    std::filesystem::remove(folder.file("e"));
  }
  for (const auto& file : std::filesystem::directory_iterator(folder.file(""))) {
    ADD_FAILURE() << "left behind: " << file.path();
  }
}

TEST(EpochsTest, AProcessKilledWhileItMakesTheFileLeavesNothing) {
  TestFolder folder;
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_DFL);        // Whoever started the tests may have it ignored.
    const rlimit limit{4096, 4096};  // A file that grows beyond gets its writer killed.
    setrlimit(RLIMIT_FSIZE, &limit);
    static_cast<void>(Epochs::Open(folder.file("e"), EpochsMode::kShared));
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGXFSZ);
  for (const auto& file : std::filesystem::directory_iterator(folder.file(""))) {
    ADD_FAILURE() << "left behind: " << file.path();
  }
}

TEST(EpochsTest, RefusesANewerVersion) {
  TestFolder folder;
  std::ofstream(folder.file("e"), std::ios::binary)
      << std::string("BAREPOCH\x02\0\0\0\0\x20\0\0", 16) << std::string(100'000, '\0');
  EXPECT_EQ(Epochs::Open(folder.file("e"), EpochsMode::kShared).status().code(),
            ErrorCode::kUnsupportedCatalog);
}

TEST(EpochsTest, AWriterKilledInItsCommitIsMended) {
  TestFolder folder;
  auto epochs = OpenEpochs(folder.file("e"));
  const Epoch before = epochs->EpochOf("k");
  InKilledChild([&] {
    auto own = Epochs::Open(folder.file("e"), EpochsMode::kShared);
    if (!own.ok() || !(*own)->Lock(1000).ok()) _exit(1);
    (*own)->MarkOdd(BucketsOf("k"));
    _exit(0);
  });
  EXPECT_FALSE(epochs->EpochOf("k").settled());  // Ask SQL: nobody knows whether it committed.
  ASSERT_TRUE(epochs->Lock(1000).ok());          // Its lock died with it.
  EXPECT_TRUE(epochs->EpochOf("k").settled());
  EXPECT_NE(epochs->EpochOf("k"), before);
  EXPECT_EQ(epochs->EpochOf("another key"), before);
  epochs->Unlock();
}

TEST(EpochsTest, AnEngineKilledInItsCommitIsMended) {
  TestFolder folder;
  auto epochs = OpenEpochs(folder.file("e"));
  const Epoch before = epochs->EpochOf("k");
  InKilledChild([&] {
    auto own = Epochs::Open(folder.file("e"), EpochsMode::kShared);
    if (!own.ok()) _exit(1);
    (*own)->BeginEngineCommit();
    _exit(0);
  });
  EXPECT_FALSE(epochs->EpochOf("k").settled());
  ASSERT_TRUE(epochs->Lock(1000).ok());
  EXPECT_TRUE(epochs->EpochOf("k").settled());
  EXPECT_NE(epochs->EpochOf("k"), before);
  epochs->Unlock();
}

TEST(EpochsTest, ALivingEngineIsNotMended) {
  TestFolder folder;
  auto a = OpenEpochs(folder.file("e"));
  auto b = OpenEpochs(folder.file("e"));
  a->BeginEngineCommit();
  for (Epochs* writer : {a.get(), b.get()}) {
    ASSERT_TRUE(writer->Lock(1000).ok());
    EXPECT_FALSE(writer->EpochOf("k").settled());
    writer->Unlock();
  }
  a->EndEngineCommit();
  EXPECT_TRUE(b->EpochOf("k").settled());
}

TEST(EpochsTest, ADeletedFileIsNoticed) {
  TestFolder folder;
  auto a = OpenEpochs(folder.file("e"));
  const Epoch before = a->EpochOf("k");
  std::filesystem::remove(folder.file("e"));
  auto b = OpenEpochs(folder.file("e"));
  ASSERT_TRUE(a->Refresh().value());
  EXPECT_FALSE(a->Refresh().value());
  EXPECT_NE(a->EpochOf("k"), before);  // Whatever was seen in the old file no longer holds.
  EXPECT_EQ(a->EpochOf("k"), b->EpochOf("k"));
  std::filesystem::remove(folder.file("e"));
  ASSERT_TRUE(a->Lock(1000).ok());  // By the writer itself.
  auto c = OpenEpochs(folder.file("e"));
  EXPECT_FALSE(c->TryLock().value());
  a->Unlock();
}

TEST(EpochsTest, ReadOnlyMapsWhatIsThere) {
  TestFolder folder;
  auto none = OpenEpochs(folder.file("e"), EpochsMode::kReadOnly);
  EXPECT_FALSE(none->present());
  EXPECT_TRUE(none->EpochOf("k").settled());
  EXPECT_FALSE(std::filesystem::exists(folder.file("e")));
  auto writer = OpenEpochs(folder.file("e"));
  auto reader = OpenEpochs(folder.file("e"), EpochsMode::kReadOnly);
  const Epoch before = reader->EpochOf("k");
  CommitOnce(writer.get(), "k");
  EXPECT_NE(reader->EpochOf("k"), before);
  EXPECT_EQ(reader->TryLock().status().code(), ErrorCode::kReadOnly);
  reader->BeginEngineCommit();
  reader->EndEngineCommit();
  EXPECT_TRUE(writer->EpochOf("k").settled());
}

}  // namespace
}  // namespace barcache
